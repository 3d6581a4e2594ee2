"""A client on an open Atlas, for cases that come one after the other from a thread, and what no answer may say."""

from __future__ import annotations

import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.client import Client

from atlas_mcp.server import create_server
from tests.server.doors import MODERN, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal
    from mcp.types import CallToolResult, Tool

    from atlas_mcp.atlas import Atlas

HANGS = 60
"""Seconds after which a call that has not come back hangs, on the slowest machine."""
LONGEST_REFUSAL = 20_000
ROOT = Path(__file__).parents[2]
TRACES = re.compile(r"Traceback|File \"|site-packages|\.py\b.*line \d+|sqlite3\.|sqlalchemy|0x[0-9a-f]{8}")


@dataclass(frozen=True)
class House:
    """A client in memory, called from a thread."""

    portal: BlockingPortal
    client: Client
    home: Path
    tools: dict[str, Tool]

    @classmethod
    @contextmanager
    def on(cls, portal: BlockingPortal, atlas: Atlas, home: Path) -> Iterator[House]:
        """A client with every tool."""
        server = create_server(atlas, transport="stdio", toolset="all")
        with portal.wrap_async_context_manager(Client(server, mode=MODERN)) as client:
            tools = {tool.name: tool for tool in portal.call(client.list_tools).tools}
            yield cls(portal, client, home, tools)

    def call(self, tool: str, arguments: dict[str, Any]) -> CallToolResult:
        """What the tool answers, within the deadline."""
        return self.portal.call(self._within, lambda: self.client.call_tool(tool, arguments))

    def ask(self, request: Any) -> Any:
        """What comes of any other request: what `request` makes of the client, or the protocol error's text."""
        try:
            return self.portal.call(self._within, lambda: request(self.client))
        except MCPError as error:
            self.check(str(error))
            return error

    async def _within(self, ask: Any) -> Any:
        with anyio.fail_after(HANGS):
            return await ask()

    def refusal(self, tool: str, arguments: dict[str, Any]) -> str | None:
        """The text of a refusal, checked for what none may say; None where the call was carried out."""
        result = self.call(tool, arguments)
        text = text_of(result)
        if not result.is_error:
            return None
        self.check(text)
        assert len(text) <= LONGEST_REFUSAL, f"{len(text)} characters are no answer"
        return text

    def check(self, text: str) -> None:
        """No answer tells of the machine, of our code, or that something went wrong which nobody thought of."""
        assert "unexpected error" not in text, text
        assert not TRACES.search(text), text
        assert str(self.home) not in text, text
        assert str(ROOT) not in text, text
        text.encode()  # can be sent

    def state(self) -> Any:
        """What a refused call must not have changed."""
        agents = self.call("list_agents", {}).structured_content or {}
        blocks = self.call("get_agent_memory", {"agent": "librarian"}).structured_content
        runs = self.call("list_runs", {"limit": 100}).structured_content or {}
        memories = self.call("list_memories", {"limit": 200, "everything": True}).structured_content
        names = [one["name"] for one in [*agents["agents"], *agents["groups"]]]
        return names, blocks, [(run["run_id"], run["status"]) for run in runs["runs"]], memories
