"""All other MCP servers of this home, and what agents are offered of them.

Promise: nobody waits for a server but a call of its own tools. What was approved earlier is offered at once, before its
server is up. A server that is not well is told by its own room, with what to do, and costs the others nothing.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError
from atlas_mcp.reach.servers.approvals import Approvals, Standing
from atlas_mcp.reach.servers.calling import call, check
from atlas_mcp.reach.servers.link import Link
from atlas_mcp.reach.servers.listing import Listing, check_listing
from atlas_mcp.reach.servers.log import ServerLog
from atlas_mcp.reach.servers.logins import Login
from atlas_mcp.reach.tool import OutsideTool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from atlas_mcp.reach.servers.config import ServerConfig, ServersFile
    from atlas_mcp.reach.servers.listing import Listed
    from atlas_mcp.reach.tool import Calling
    from atlas_mcp.store.record import Record

POOLS = ("servers",)
FIRST_SECONDS = 5.0
_APPROVED_SECONDS = 5.0  # after which an approval by another process is seen, where one is waited for
_GIVEN_UP = 3  # attempts in a row, after which a server's tools are not offered until it is there again


class Server:
    """One server: its session, and which of its tools may be offered."""

    def __init__(
        self,
        config: ServerConfig,
        home: Path,
        approvals: Approvals,
        flagged: Callable[[str], str],
        changed: Callable[[], None],
    ) -> None:
        self.config = config
        log = ServerLog(home / "logs", config)
        self.link = Link(Login(home, config), log, flagged=flagged, on_listing=self._listed)
        self.standing = Standing()
        self.met = anyio.Event()
        self._approvals = approvals
        self._flagged = flagged
        self._changed = changed

    async def keep(self) -> None:
        """Hold the session and what is known of the server's tools up to date, for ever."""
        with suppress(AtlasError):  # a record that is just not there is told elsewhere; the listing follows
            known = await self._approvals.told(self.config.name)
            listing = await anyio.to_thread.run_sync(check_listing, self.config, known.values(), self._flagged)
            self.standing = Standing(listing.tools)
            self._changed()
            if known:
                self.met.set()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.link.keep)
            tasks.start_soon(self._see_approvals)
            await self.link.settled.wait()
            self.met.set()

    async def _listed(self, listing: Listing) -> None:
        with suppress(AtlasError):  # a record that is away for a moment ends no session; the next listing asks again
            self.standing = await self._approvals.standing(self.config.name, listing.tools)
            self._changed()

    async def _see_approvals(self) -> None:
        while True:
            await anyio.sleep(_APPROVED_SECONDS)
            if self.standing.withheld and self.link.state == "ready":
                await self._listed(self.link.listing)

    @property
    def tools(self) -> Sequence[Listed]:
        """Those that may be offered now."""
        given_up = self.link.state == "failing" and self.link.losses >= _GIVEN_UP
        return () if given_up else self.standing.approved

    def remarks(self) -> list[str]:
        """What the user should know of its tools, a sentence each."""
        withheld = [f"Tool {tool!r} is withheld: {why}." for tool, why in self.standing.withheld.items()]
        read_so = [f"Tool {t.tool!r} reads like an order: {t.flag}." for t in self.standing.approved if t.flag]
        return [*withheld, *read_so, *self.link.listing.notes]


class Servers:
    """Those of one file, on that home; `flagged` says why a text reads like an order to a model, or ""."""

    def __init__(self, file: ServersFile, home: Path, record: Record, flagged: Callable[[str], str]) -> None:
        approvals = Approvals(record)
        self.servers = [Server(c, home, approvals, flagged, self._changed) for c in file.servers if not c.disabled]
        self._tools: tuple[OutsideTool, ...] | None = None
        self._states: tuple[bool, ...] = ()
        self._met = False

    @property
    def tools(self) -> Sequence[OutsideTool]:
        """What agents are offered now."""
        states = tuple(bool(server.tools) for server in self.servers)
        if self._tools is None or states != self._states:
            self._tools = tuple(
                outside_tool(s.config, tool, partial(call, s.link, tool)) for s in self.servers for tool in s.tools
            )
            self._states = states
        return self._tools

    async def keep(self) -> None:
        """Hold all sessions, for ever; cancel it to end."""
        async with anyio.create_task_group() as tasks:
            for server in self.servers:
                tasks.start_soon(server.keep)

    async def settled(self) -> None:
        """Wait until each server was listed, or was lost, for the first time."""
        for server in self.servers:
            await server.link.settled.wait()

    async def met(self) -> None:
        """Wait a little for servers of which nothing is known yet, so that the first turn with them has their tools."""
        if self._met:
            return
        with anyio.move_on_after(FIRST_SECONDS):
            for server in self.servers:
                await server.met.wait()
        self._met = True

    def _changed(self) -> None:
        self._tools = None


def outside_tool(config: ServerConfig, tool: Listed, calling: Calling) -> OutsideTool:
    """The tool as agents are offered it."""
    return OutsideTool(
        spec=tool.spec,
        origin=config.name,
        pools=POOLS,
        marks=tool.marks,
        call=calling,
        check=partial(check, tool),
        shared=config.shared,
    )
