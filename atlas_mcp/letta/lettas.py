"""The Lettas that constellations live on: one usually, or several; each is connected when it is first needed.

Promise: a caller's constellation is on one of them, and stays there until it is moved. A server that cannot be reached
is an error for those whose constellation is there, and for nobody else. The first connection of a process waits a while
for a server that is only starting; after that, one that is not there is an error at once, and is used again as soon as
it answers.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import ConfigurationError, ConstellationMoving
from atlas_mcp.letta import placement
from atlas_mcp.letta.connect import START_SECONDS, connect
from atlas_mcp.model.server import EMBEDDED, Server

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from anyio.abc import TaskGroup, TaskStatus

    from atlas_mcp.letta.breaker import Breaker
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.placement import Placement
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

    OpenEmbedded = Callable[[], AbstractAsyncContextManager[Letta]]


@asynccontextmanager
async def open_lettas(
    servers: Sequence[Server],
    record: Record,
    locks: Locks,
    open_embedded: OpenEmbedded,
    *,
    embedding: str | None = None,
    patience: float = START_SECONDS,
) -> AsyncGenerator[Lettas]:
    """The Lettas of these servers; `open_embedded` opens the one inside ATLAS, which need not be among them.

    Nothing is connected yet. `embedding` is the handle for archives on servers, `patience` how many seconds the first
    connection to one waits for it.
    """
    tasks = await anyio.create_task_group().__aenter__()
    lettas = Lettas(servers, record, locks, open_embedded, tasks, embedding=embedding, patience=patience)
    try:
        yield lettas
    finally:  # entered and left by hand, so that what is raised inside is not wrapped in a group
        lettas.close()
        await tasks.__aexit__(None, None, None)


class Lettas:
    """Made by `open_lettas`; `servers` are those that new constellations are placed on."""

    def __init__(
        self,
        servers: Sequence[Server],
        record: Record,
        locks: Locks,
        open_embedded: OpenEmbedded,
        tasks: TaskGroup,
        *,
        embedding: str | None,
        patience: float,
    ) -> None:
        self.servers = {server.name: server for server in servers}
        self._record = record
        self._locks = locks
        self._open_embedded = open_embedded
        self._tasks = tasks
        self._embedding = embedding
        self._patience = patience
        self._open: dict[str, Letta] = {}
        self._opening = {name: anyio.Lock() for name in (*self.servers, EMBEDDED)}
        self._breakers: dict[str, Breaker] = {}
        self._closing = anyio.Event()

    async def of(self, caller: Caller) -> Letta:
        """The Letta that has the caller's constellation, which is placed now if it never was.

        ConstellationMoving while it is being moved; UnusableLetta and LettaUnavailable as `connect`.
        """
        async with self._record.read() as db:
            placed = await placement.read(db, caller.id)
        return await self.at(caller, placed)

    async def at(self, caller: Caller, placed: Placement | None) -> Letta:
        """As `of`, with the placement that has just been read."""
        if placed is None or placed.server not in self.servers:
            placed = await self._place(caller)
        if placed.moving_to and self._locks.held_among([placement.moving_lock(caller.id)]):
            raise ConstellationMoving(
                f"the constellation is being moved from {placed.server} to {placed.moving_to}.",
                next_step="Try again in a moment.",
            )
        return await self.named(placed.server)

    def has(self, name: str) -> bool:
        """Whether there is a Letta of that name: one that is configured, or the embedded one, which always is."""
        return name in self._opening

    async def named(self, name: str) -> Letta:
        """The Letta of that name, connected if it is not. ConfigurationError for one that is not configured."""
        if not self.has(name):
            raise ConfigurationError(
                f"no Letta called {name!r} is configured.",
                argument="letta_servers",
                allowed=list(self.servers),
                next_step=f"There are: {', '.join(self.servers)}.",
            )
        if name not in self._open:
            async with self._opening[name]:
                if name not in self._open:
                    self._open[name] = await self._tasks.start(self._hold, name)
        return self._open[name]

    def silent(self) -> dict[str, str]:
        """Why those servers cannot be reached at this time that cannot be, by their names."""
        return {name: breaker.reason for name, breaker in self._breakers.items() if breaker.is_open}

    def close(self) -> None:
        """Let go of every Letta; `open_lettas` waits until they are closed."""
        self._closing.set()

    async def _place(self, caller: Caller) -> Placement:
        async with self._record.write() as db:
            placed = await placement.read(db, caller.id)
            if placed is not None and placed.server in self.servers:
                return placed
            return await placement.put(db, caller.id, placement.choose(caller.id, self.servers.values()).name)

    async def _hold(self, name: str, *, task_status: TaskStatus[Letta]) -> None:
        """Open the Letta, hold it open, and close it in this same task, as its own tasks demand."""
        async with self._opened(name) as letta:
            task_status.started(letta)
            await self._closing.wait()

    def _opened(self, name: str) -> AbstractAsyncContextManager[Letta]:
        if name == EMBEDDED:
            return self._open_embedded()
        from atlas_mcp.letta.breaker import Breaker

        server = self.servers[name]
        known = self._breakers.get(name)
        breaker = self._breakers[name] = known or Breaker(server.shown)
        patience = 0.0 if known else self._patience
        return connect(server, breaker, embedding=self._embedding, patience=patience)
