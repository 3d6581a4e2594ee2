"""Telling MLflow of runs that have ended, beside everything else.

Promise: nothing of it is done on a run's way; some seconds after a team task, a rating or a group's talk has ended, the
process that executed it tells. If that one is gone, the next that opens the home does. A run is marked as told once its
notes are on disk; one that is told twice is in MLflow once.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.watch.notes import Note

    Pause = Callable[[float], Awaitable[None]]

LOOK_SECONDS = 5.0
LEFT_SECONDS = 60.0
"""So long after its end a run that another process executed is told by whoever looks."""
_AT_ONCE = 50
_FLUSH_SECONDS = 10.0
log = logging.getLogger(__name__)


async def tell_runs(rooms: Rooms, *, pause: Pause = anyio.sleep) -> None:
    """Tell until cancelled; `pause` is how it waits, for so many seconds."""
    from atlas_mcp.watch.series import Hours

    hours = Hours()
    while True:
        await pause(LOOK_SECONDS)
        try:
            await _tell_ended(rooms)
            async with rooms.record.read() as db:
                values = await hours.due(db, datetime.now(UTC), partial(team_of, rooms))
            await _told(rooms, values)
        except AtlasError as error:  # the record is gone for now: what has ended is told later
            log.warning("MLflow was not told of what has ended: %s", error)
        except Exception:
            log.exception("MLflow was not told of what has ended")


def team_of(rooms: Rooms, agent: str) -> str:
    """The team of that agent of the home's roster; empty for one that is in none."""
    return next((one.team or "" for one in rooms.keeper.roster.agents if one.name == agent), "")


async def _tell_ended(rooms: Rooms) -> None:
    from atlas_mcp.watch.run_notes import mark_told, run_notes, untold

    async with rooms.record.read() as db:
        before = datetime.now(UTC) - timedelta(seconds=LEFT_SECONDS)
        runs = await untold(db, rooms.runs.executor, before, _AT_ONCE)
    for run_id, caller in runs:
        async with rooms.record.read() as db:
            notes = await run_notes(db, run_id, partial(team_of, rooms))
        if not await _told(rooms, notes):
            return
        async with rooms.record.write(caller) as db:
            await mark_told(db, run_id, datetime.now(UTC))


async def _told(rooms: Rooms, notes: Sequence[Note]) -> bool:
    """Whether the notes are on disk, or counted as lost."""
    tracing = rooms.keeper.tracing
    if tracing is None:
        return False

    def work() -> bool:  # a run's texts are read for secrets: not in the event loop
        from atlas_mcp.watch.notes import tell

        return all(tell(note) for note in notes) and (not notes or tracing.flush(_FLUSH_SECONDS))

    return await anyio.to_thread.run_sync(work)
