"""The pulse of a process that executes runs: how others see that it goes on, and not only that it has not ended.

A process that hangs or is frozen keeps its lock. So each counts up its beat in the record while it has runs in its
hands, from its event loop. Whoever looks at others compares no clocks: a process has stood still if its beat was the
same for HUNG_SECONDS of the onlooker's own time. Of that, what passed between two looks counts for LOOK_AT_MOST at the
most, so that one who slept himself, with the whole laptop, takes nobody for hung when he wakes.

HUNG_SECONDS is longer than a record may be locked or gone (ten seconds) and a beat on top of it: nobody can beat then.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
from sqlalchemy import bindparam, delete, insert, select, update

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

BEAT_SECONDS = 2.0
HUNG_SECONDS = 15.0
LOOK_AT_MOST = 2.0
_EXECUTOR = tables.executor
_MINE = _EXECUTOR.c.name == bindparam("mine")
_BEAT = update(_EXECUTOR).where(_MINE).values(beat=_EXECUTOR.c.beat + 1)
_BEGIN = insert(_EXECUTOR)
_END = delete(_EXECUTOR).where(_MINE)
_OF = select(_EXECUTOR.c.beat).where(_MINE)
_log = logging.getLogger(__name__)


class Pulse:
    """The pulse of the process known as `name`, which has runs in its hands while `busy()`."""

    def __init__(self, name: str, record: Record, busy: Callable[[], bool]) -> None:
        self._name = name
        self._record = record
        self._busy = busy
        self._shown = False

    async def beat(self) -> None:
        """Beat while there is something to do, for as long as this process lives."""
        while True:
            try:
                if self._busy():
                    await self._count_up()
                else:
                    await self.end()
            except (LockTimeout, StoreUnavailable) as reason:
                _log.warning("no sign of life was left in the record: %s", reason)
            except Exception:  # noqa: BLE001
                # Without a beat this process would be taken for hung.
                _log.exception("the beat could not be written, and is tried again")
            await anyio.sleep(BEAT_SECONDS)

    async def end(self) -> None:
        """Leave nothing of it in the record."""
        if self._shown:
            async with self._record.write(f"executor {self._name}") as connection:
                await forget(connection, self._name)
            self._shown = False

    async def _count_up(self) -> None:
        self._shown = True  # also by a write that fails: whether it was stored may be unknown
        async with self._record.write(f"executor {self._name}") as connection:
            counted = await connection.execute(_BEAT, {"mine": self._name})
            if not counted.rowcount:
                await connection.execute(_BEGIN, {"name": self._name, "beat": 1})


class Onlooker:
    """What one process has seen of the others' beats."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int | None, float]] = {}
        self._looked: float | None = None

    def hung(self, beats: Mapping[str, int | None]) -> dict[str, int | None]:
        """Those of the processes that have stood still for too long, with the beat at which they do.

        `beats` are those of all processes that have runs in their hands; None for one that has not beaten yet.
        """
        now = anyio.current_time()
        passed = min(now - self._looked, LOOK_AT_MOST) if self._looked is not None else 0.0
        self._looked = now
        still: dict[str, tuple[int | None, float]] = {}
        for name, beat in beats.items():
            before = self._seen.get(name)
            still[name] = (beat, before[1] + passed if before is not None and before[0] == beat else 0.0)
        self._seen = still
        return {name: beat for name, (beat, seconds) in still.items() if seconds >= HUNG_SECONDS}


async def beat_of(connection: AsyncConnection, name: str) -> int | None:
    """The beat of that process; None if there is none."""
    return (await connection.execute(_OF, {"mine": name})).scalar_one_or_none()


async def forget(connection: AsyncConnection, name: str) -> None:
    """Delete the beat of a process that has nothing in its hands any more."""
    await connection.execute(_END, {"mine": name})
