"""What this home's agents reach outside: doors that the settings open, and the tools of other servers.

Promise: which doors there are is known at once, and nothing is imported or opened for them before the rooms are; a door
is opened for one agent in one turn, when a tool of it is first called. A door that is configured wrongly is told when
the rooms open, as ConfigurationError.

To add a door: a line in `_DOORS`. To add what is given to all of them (what was found, what was spent): `context`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, runtime_checkable
from uuid import uuid4

import anyio
import anyio.to_thread

from atlas_mcp.errors import Unavailable
from atlas_mcp.reach.context import CallContext
from atlas_mcp.settings import foreign
from atlas_mcp.store.home import Home
from atlas_mcp.watch.limits import money

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from atlas_mcp.constellation.tool_turn import ToolTurn
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.permissions import Permissions
    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.model.status import Room
    from atlas_mcp.reach.servers.config import ServersFile
    from atlas_mcp.reach.servers.servers import Servers
    from atlas_mcp.reach.tool import OutsideTool
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.ledger import Ledger

    OpenDoor = Callable[[CallContext], object]
    Opener = Callable[[Reaching, Record, Path], AbstractAsyncContextManager[OpenDoor]]


@dataclass(frozen=True)
class Entrance:
    """A kind of door: whether the settings open it, and who does, as `module:function`, imported with the rooms.

    The function is an Opener: given the settings, the record and the home's folder it is an async context manager that
    holds open what is shared by all turns, and gives what opens the door for one of them.
    """

    configured: Callable[[Reaching], bool]
    opener: str


@runtime_checkable
class Telling(Protocol):
    """What opens a door, where it can say how things are behind it."""

    def room(self, name: str) -> Room:
        """How they are, as the room of that name; nothing is asked for that."""
        ...


_CONNECTORS = "atlas_mcp.reach.connectors"
_DOORS: dict[str, Entrance] = {
    "tavily": Entrance(lambda s: s.tavily_api_key is not None, f"{_CONNECTORS}.tavily:open_door"),
    "firecrawl": Entrance(lambda s: s.has_firecrawl, f"{_CONNECTORS}.firecrawl:open_door"),
    "files": Entrance(lambda _: True, "atlas_mcp.reach.files.door:open_files"),  # a client's roots may allow folders
    "github": Entrance(lambda s: s.github_token is not None, f"{_CONNECTORS}.github:open_door"),
    "web": Entrance(lambda _: True, "atlas_mcp.reach.web.web:open_web"),
    "search": Entrance(
        lambda s: bool(s.tavily_api_key or s.web_search_url), "atlas_mcp.reach.web.searching:open_search"
    ),
    "microsoft": Entrance(lambda s: s.microsoft_user is not None, f"{_CONNECTORS}.microsoft:open_door"),
}


class Reach:
    """What agents reach; `opened` while the rooms are open."""

    def __init__(self, settings: Reaching, home: Path) -> None:
        self._settings = settings
        self._home = home
        self.permissions: Permissions = settings.permissions
        self.has_folders = bool(settings.files)
        self.kinds = frozenset(kind for kind, door in _DOORS.items() if door.configured(settings))
        self.doors: dict[str, OpenDoor] = {}
        self._record: Record | None = None
        self._ledger: Ledger | None = None
        self.servers_file = _servers_file(settings.mcp_servers, home)
        self._servers: Servers | None = None

    @property
    def tools(self) -> Sequence[OutsideTool]:
        """The tools of other servers, as they stand now."""
        return self._servers.tools if self._servers else ()

    def server_rooms(self) -> list[Room]:
        """How each other server is that the user named; none is asked."""
        if self.servers_file is None:
            return []
        from atlas_mcp.reach.servers.rooms import rooms_of

        return rooms_of(self.servers_file, self._home, self._servers)

    def door_rooms(self) -> list[Room]:
        """How each door is that has something to tell; none is asked."""
        return [door.room(kind) for kind, door in self.doors.items() if isinstance(door, Telling)]

    @asynccontextmanager
    async def opened(self, record: Record, ledger: Ledger) -> AsyncGenerator[None]:
        """Hold the doors open until the block is left."""
        self._record, self._ledger = record, ledger
        async with AsyncExitStack() as stack:
            stack.callback(self.doors.clear)
            for kind in sorted(self.kinds):
                module, _, function = _DOORS[kind].opener.partition(":")
                opener: Opener = getattr(import_module(module), function)
                self.doors[kind] = await stack.enter_async_context(opener(self._settings, record, self._home))
            await stack.enter_async_context(self._with_servers(record))
            yield

    async def met(self) -> None:
        """Wait for other servers that were never seen before, for seconds at the most; at once in all other cases."""
        if self._servers is not None:
            await self._servers.met()

    @asynccontextmanager
    async def _with_servers(self, record: Record) -> AsyncGenerator[None]:
        """Hold the sessions with other servers; nobody waits until there are any."""
        if self.servers_file is None or not self.servers_file.servers:
            yield
            return
        await anyio.to_thread.run_sync(import_module, "atlas_mcp.reach.servers.servers")
        from atlas_mcp.reach.servers.servers import Servers

        self._servers = Servers(self.servers_file, self._home, record, like_an_order)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._servers.keep)
            try:
                yield
            finally:
                self._servers = None
                tasks.cancel_scope.cancel()

    @property
    def record(self) -> Record:
        """The record, while the rooms are open; Unavailable else."""
        if self._record is None:
            raise Unavailable("ATLAS has not started yet.")
        return self._record

    def context(self, caller: Caller, agent: str, turn: ToolTurn) -> CallContext:
        """For whom a tool is called in one turn."""
        found = partial(self._found, caller, agent, turn.run_id)
        return CallContext(caller, agent, turn.run_id, found, partial(self._spent, caller, agent, turn))

    async def _found(
        self, caller: Caller, agent: str, run_id: str | None, name: str, text: str, *, title: str = ""
    ) -> None:
        """Keep what the agent is given, so that what is quoted of it can be checked."""
        from atlas_mcp.reach.sources import Sources

        await Sources(caller, self.record).told_by(agent, run_id)(name, text, title=title)

    async def _spent(self, caller: Caller, agent: str, turn: ToolTurn, service: str, usd: float) -> None:
        """Enter what a call is about to cost. BudgetSpent where the run's or the day's budget has no room for it."""
        if self._ledger is None:
            raise Unavailable("ATLAS has not started yet.")
        async with self.record.jot(caller.id) as db:
            await self._ledger.pay(
                db, caller, turn=turn.id or f"tool_{uuid4().hex}", run_id=turn.run_id, service=service, usd=usd
            )
        turn.paid += usd
        if turn.tell:
            text = f"{agent} paid {money(usd)} for {service}"
            await turn.tell(agent, "tool_paid", text, turn_id=turn.id or None, service=service, usd=usd)

    def door(self, kind: str, context: CallContext) -> object:
        """That door, for one agent in one turn. Unavailable while the rooms are closed."""
        if kind not in self.doors:
            raise Unavailable(f"the door {kind} is not open", next_step="Try again when ATLAS has started.")
        return self.doors[kind](context)


def _servers_file(named: Path | None, home: Path) -> ServersFile | None:
    """What the user's file of other servers says; the home's own, if he named none and there is one."""
    path = named or Home(home).servers
    if named is None and not path.exists():
        return None
    from atlas_mcp.reach.servers.config import read_servers

    return read_servers(path, foreign)


def like_an_order(text: str) -> str:
    """Why the text reads like an order to a model, or "" if it does not."""
    from atlas_mcp.guard.rules import hits

    return next((hit.about for hit in hits(text) if hit.rule != "secret"), "")
