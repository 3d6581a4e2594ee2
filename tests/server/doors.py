"""The doors a client can come in by, in each protocol era."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp import StdioServerParameters, stdio_client
from mcp.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import TextContent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence

    from mcp.types import CallToolResult

MODERN, LEGACY = "2026-07-28", "2025-11-25"
ERAS = {MODERN: "auto", LEGACY: "legacy"}
"""How the SDK's client is told to speak each of them."""
TOOLS = {
    "list_agents",
    "chat_with_agent",
    "chat_with_group",
    "run_team_task",
    "get_run",
    "answer_run",
    "list_runs",
    "cancel_run",
    "get_agent_memory",
    "undo_memory",
    "update_agent_memory",
    "search_memory",
    "forget",
    "share_knowledge",
    "rate_text",
    "give_feedback",
    "get_status",
}
COMMAND = [sys.executable, "-m", "atlas_mcp"]


def text_of(result: CallToolResult) -> str:
    """All text of a result."""
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a call that succeeds."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, text_of(result)
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a call that is refused."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, text_of(result)
    return text_of(result)


@asynccontextmanager
async def over_stdio(era: str, *options: str, **environment: str) -> AsyncIterator[Client]:
    """A client on a server subprocess."""
    parameters = StdioServerParameters(
        command=COMMAND[0], args=[*COMMAND[1:], "serve", *options], env={**os.environ, **environment}
    )
    async with Client(stdio_client(parameters), mode=ERAS[era]) as client:
        yield client


@contextmanager
def http_server(*options: str, program: Sequence[str] = COMMAND) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """`serve --http` on a free port: its address on loopback, its key and its process."""
    command = [*program, "serve", "--http", "--port", "0", *options]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    try:
        assert process.stderr is not None
        seen = ""
        while "Ctrl-C" not in seen:
            line = process.stderr.readline()
            assert line, f"the server ended: {seen}"
            seen += line
        address = re.search(r"http://(?:127\.0\.0\.1|0\.0\.0\.0):\d+", seen)
        key_file = re.search(r"the key is in (.+)", seen)
        assert address
        assert key_file
        with open(key_file[1].strip(), encoding="utf-8") as file:  # noqa: PTH123
            yield address[0].replace("0.0.0.0", "127.0.0.1"), file.read().strip(), process
    finally:
        process.kill()
        process.wait()


@asynccontextmanager
async def over_http(address: str, key: str, path: str, era: str) -> AsyncIterator[Client]:
    """A client on a running HTTP server, by Streamable HTTP (/mcp) or SSE (/sse)."""
    headers = {"Authorization": f"Bearer {key}"}
    if path == "/sse":
        async with Client(sse_client(f"{address}/sse", headers=headers), mode=ERAS[era]) as client:
            yield client
        return
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http), mode=ERAS[era]) as client,
    ):
        yield client


async def until_ended(client: Client, run: dict[str, Any]) -> dict[str, Any]:
    """The run once it has ended, found by its handle; with every event that was handed out on the way."""
    events = list(run["events"])
    with anyio.fail_after(90):
        while run["status"] not in {"completed", "failed", "cancelled"}:
            since = events[-1]["seq"] if events else 0
            run = await call(client, "get_run", run_id=run["run_id"], since=since, wait_seconds=20)
            events += run["events"]
    return {**run, "events": events}
