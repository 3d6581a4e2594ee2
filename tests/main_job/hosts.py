"""A host: a real server subprocess that can be killed, and a real MCP client on it over stdio."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from mcp import StdioServerParameters, stdio_client
from mcp.client import Client
from mcp.types import Implementation, TextContent

DEADLINE = 120


@dataclass
class Host:
    """What a test has in hand of one server and its client."""

    client: Client
    pid: int

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """The tool's structured result; an error fails the test with its text."""
        result = await self.client.call_tool(tool, arguments, read_timeout_seconds=DEADLINE)
        assert not result.is_error, " ".join(p.text for p in result.content if isinstance(p, TextContent))
        assert result.structured_content is not None
        return result.structured_content

    def kill(self) -> None:
        """kill -9: nothing of the server runs any more, not even its clean-up."""
        os.kill(self.pid, signal.SIGKILL)


@asynccontextmanager
async def host(home: Path, name: str = "test-host", **environment: str) -> AsyncGenerator[Host]:
    """Start `atlas-mcp serve` on this home. A server that the test killed is no error at the end."""
    home.mkdir(parents=True, exist_ok=True)
    pid_file = home.parent / f"{name}-{os.urandom(4).hex()}.pid"
    serve = shlex.join([sys.executable, "-m", "atlas_mcp", "serve"])
    parameters = StdioServerParameters(
        command="/bin/sh",
        args=["-c", f"echo $$ > {shlex.quote(str(pid_file))}; exec {serve}"],
        env={**os.environ, "ATLAS_HOME": str(home), **environment},
    )
    reached = False
    try:
        async with Client(stdio_client(parameters), client_info=Implementation(name=name, version="1")) as client:
            await client.list_tools()
            yield Host(client, int(pid_file.read_text()))
            reached = True
    except Exception:
        # The pipe of a killed server breaks while the client says goodbye.
        if not reached:
            raise


async def until_event(server: Host, run_id: str, type: str, times: int = 1) -> dict[str, Any]:
    """The run, once its journal has that many events of the type."""
    since, seen = 0, 0
    with anyio.fail_after(DEADLINE):
        while True:
            run = await server.call("get_run", run_id=run_id, since=since, wait_seconds=5)
            for event in run["events"]:
                since = event["seq"]
                seen += event["type"] == type
            if seen >= times:
                return run
            assert run["status"] in ("queued", "working"), run["error"]


async def ended(server: Host, run_id: str, seconds: float = DEADLINE) -> dict[str, Any]:
    """The run with its whole journal, once it is over."""
    with anyio.fail_after(seconds):
        while True:
            run = await server.call("get_run", run_id=run_id, wait_seconds=5, since=100_000)
            if run["status"] in ("completed", "failed", "cancelled"):
                return await server.call("get_run", run_id=run_id)
