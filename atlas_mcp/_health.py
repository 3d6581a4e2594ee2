"""Watching over the house while it serves: samples by every process, alerts and the webhook by one of them.

Promise: nothing here holds up or breaks what anybody does. What fails is in the log and is tried again. The one process
that looks for alerts is whoever was first to hold the lock, until it ends; another then takes its place.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio

from atlas_mcp._config import alert_webhook, thresholds
from atlas_mcp._status import store_rooms
from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.memory.hits import Hits

    Pause = Callable[[float], Awaitable[None]]

FIRST_SECONDS = 5.0
"""What made the rooms open is served first."""
LOOK_SECONDS = 15.0
STORES_EVERY = 4
"""At every so many looks the stores are looked at, too."""
LOCK = "lookout"
log = logging.getLogger(__name__)


async def watch_over(rooms: Rooms, *, pause: Pause = anyio.sleep) -> None:
    """Watch until cancelled; `pause` is how it waits, for so many seconds."""
    await pause(FIRST_SECONDS)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_keep_sampling, rooms, pause)
        tasks.start_soon(_keep_looking, rooms, pause)


async def _keep_sampling(rooms: Rooms, pause: Pause) -> None:
    from atlas_mcp.watch.alerts.looking import utc_now
    from atlas_mcp.watch.health import EVERY_SECONDS, Sampler

    sampler = Sampler(rooms.record, rooms.runs.executor, Gauges(rooms).read, now=utc_now)
    while True:
        await _tried("no sample was taken", sampler.sample)
        await pause(EVERY_SECONDS)


async def _keep_looking(rooms: Rooms, pause: Pause) -> None:
    while True:
        await _tried("nobody looks for alerts", lambda: _look_while_first(rooms, pause))
        await pause(LOOK_SECONDS)


async def _look_while_first(rooms: Rooms, pause: Pause) -> None:
    """Look again and again, if no other process does; until the lock is lost."""
    held = rooms.keeper.locks.try_hold(LOCK)
    if held is None:
        return
    with held, held.kept():
        await Lookouts(rooms).keep(pause)


class Lookouts:
    """What the process does that looks for alerts: looks, and tells the webhook."""

    def __init__(self, rooms: Rooms) -> None:
        from atlas_mcp.watch.alerts.looking import Lookout

        settings = rooms.keeper.settings
        self._rooms = rooms
        self._hook = alert_webhook(settings)
        self._lookout = Lookout(rooms.record, thresholds(settings), daily_usd=settings.daily_usd)
        self._news = anyio.Event()

    async def keep(self, pause: Pause) -> None:
        """Do so until cancelled."""
        async with anyio.create_task_group() as tasks:
            if self._hook is not None:
                tasks.start_soon(self._keep_telling)
            looks = 0
            while True:
                stores = looks % STORES_EVERY == 0
                await _tried("alerts could not be looked for", lambda stores=stores: self._look(stores=stores))
                looks += 1
                self._news.set()
                await pause(LOOK_SECONDS)

    async def _look(self, *, stores: bool) -> None:
        await self._lookout.look((lambda: store_rooms(self._rooms.keeper)) if stores else None)

    async def _keep_telling(self) -> None:
        from atlas_mcp.watch.alerts.telling import Telling
        from atlas_mcp.watch.webhook import sending

        if self._hook is None:
            return
        async with sending(self._hook) as sender:
            telling = Telling(self._rooms.record, self._rooms.keeper.locks, sender, self._hook.shown)
            while True:
                await self._news.wait()
                self._news = anyio.Event()
                await _tried("the webhook was not told", telling.tell)


class Gauges:
    """What only this process knows of itself."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms
        self._before = (0, 0)

    def read(self) -> dict[str, float]:
        """The figures now; those of caches since the last time."""
        from atlas_mcp.store._platform import memory_bytes

        keeper = self._rooms.keeper
        found = {
            "active_agents": float(keeper.gate.inside),
            "database_connections": float(self._rooms.record.connections),
        }
        if (memory := memory_bytes()) is not None:
            found["memory_bytes"] = float(memory)
        asked, had = sum(one.asked for one in self._caches()), sum(one.found for one in self._caches())
        before, self._before = self._before, (asked, had)
        if asked > before[0]:
            found["cache_hit_share"] = (had - before[1]) / (asked - before[0])
        left = keeper.local_models.remaining.left
        return found | {f"provider_{name}_left": value for name, value in left.items()}

    def _caches(self) -> list[Hits]:
        memory = self._rooms.memory
        return [memory.embedding.hits] + ([memory.redis.cache.hits] if memory.redis is not None else [])


async def _tried(said: str, do: Callable[[], Awaitable[object]]) -> None:
    from sqlalchemy.exc import SQLAlchemyError

    try:
        await do()
    except (AtlasError, SQLAlchemyError, OSError) as error:
        log.warning("%s: %s", said, error)
    except Exception:  # a fault of ours in what only watches must end nothing else
        log.exception(said)
