"""Servers as they are offered to agents, on a home of their own, and whoever calls their tools."""

from __future__ import annotations

import json
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.context import CallContext
from atlas_mcp.reach.servers.config import ServersFile, read_servers
from atlas_mcp.reach.servers.rooms import rooms_of
from atlas_mcp.reach.servers.servers import Servers
from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import open_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from atlas_mcp.model.status import Room

HOSTILE = str(Path(__file__).with_name("hostile.py"))
SECONDS = 60


def entry(**env: str) -> dict[str, Any]:
    """The hostile server, as a file of servers has it."""
    return {"command": sys.executable, "args": [HOSTILE], "env": env}


@dataclass
class House:
    """Open servers, and what their answers were kept as."""

    file: ServersFile
    home: Path
    servers: Servers
    kept: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def names(self) -> set[str]:
        return {tool.name for tool in self.servers.tools}

    async def found(self, name: str, text: str, *, title: str = "") -> None:
        self.kept[name] = text

    async def call(self, name: str, **arguments: Any) -> str:
        """What the tool gives, without the line that names it as a source."""

        async def spent(service: str, usd: float) -> None: ...

        context = CallContext(Caller(id="local:test"), "web_researcher", None, self.found, spent)
        tool = next(tool for tool in self.servers.tools if tool.name == name)
        with anyio.fail_after(SECONDS):
            answer = await tool.call(context, arguments)
        return answer.split("\n\n", 1)[1]

    async def fails(self, name: str, **arguments: Any) -> str:
        with pytest.raises(ToolFailed) as failure:
            await self.call(name, **arguments)
        return str(failure.value)

    def room(self, name: str) -> Room:
        return next(room for room in rooms_of(self.file, self.home, self.servers) if room.name == f"server {name}")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Wait for what the servers do by themselves."""
        with anyio.fail_after(SECONDS):
            while not holds():  # noqa: ASYNC110 - many different things, of other processes too
                await anyio.sleep(0.02)


@asynccontextmanager
async def opened(
    folder: Path, entries: Mapping[str, Any], *, flagged: Callable[[str], str] = lambda _: "", settled: bool = True
) -> AsyncIterator[House]:
    """The servers of those entries on the home in that folder, each listed or lost once if `settled`."""
    home = open_home(folder / "home")
    home.prepare_databases()
    path = folder / "mcp.json"
    await anyio.Path(path).write_text(json.dumps({"mcpServers": entries}))
    file = read_servers(path, lambda *names: {})
    assert not file.problems
    async with open_record(home.path) as record, anyio.create_task_group() as tasks:
        servers = Servers(file, home.path, record, flagged)
        tasks.start_soon(servers.keep)
        if settled:
            with anyio.fail_after(SECONDS):
                await servers.settled()
        yield House(file, home.path, servers)
        tasks.cancel_scope.cancel()
