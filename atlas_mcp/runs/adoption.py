"""Taking runs in hand: those whose turn has come, those that were given back, and those that nobody executes any more.

A process lives while it holds the lock `executor-<name>`; the system frees it when the process ends, and keeps it when
it only hangs: that is seen by its pulse. Of several that want the same run, one gets it. A run is taken only by a
process that has keys for the providers it needs; after MAX_ATTEMPTS attempts whose process ended or hung it is failed,
so that a run which kills its process does not go on doing so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete

from atlas_mcp.errors import RunLost
from atlas_mcp.runs import pulse, rows
from atlas_mcp.runs.admission import at_work, next_up
from atlas_mcp.runs.changes import Entry
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.runs.admission import Limits
    from atlas_mcp.runs.rows import RunRow, Taken
    from atlas_mcp.store.locks import Locks

MAX_ATTEMPTS = 3
_TURN = tables.turn
_GIVE_UP_TURNS = delete(_TURN).where(_TURN.c.run_id == bindparam("run"), _TURN.c.status == "started")


def lock_of(executor: str) -> str:
    """The name of the lock that the process holds while it lives."""
    return f"executor-{executor}"


def lacking(row: RunRow, providers: Collection[str]) -> list[str]:
    """The providers the run needs and this process has no key for."""
    return [name for name in row.needs if name not in providers]


def orphaned(row: RunRow, locks: Locks) -> bool:
    """Whether no living process executes the run."""
    return row.executor is None or not locks.is_held(lock_of(row.executor))


@dataclass(frozen=True)
class Gone:
    """The processes that execute nothing any more: those that ended, and those that hang, with their last beat."""

    ended: frozenset[str] = frozenset()
    hung: Mapping[str, int | None] | None = None

    def __contains__(self, executor: str) -> bool:
        return executor in self.ended or executor in (self.hung or {})


@dataclass(frozen=True)
class Here:
    """What this process, known as `name`, can do, and the runs that it has in its hands."""

    name: str
    kinds: Collection[str]
    providers: Collection[str]
    mine: Collection[str]

    def can(self, row: RunRow) -> bool:
        """Whether the run can be executed here."""
        return row.kind in self.kinds and not lacking(row, self.providers)


@dataclass(frozen=True)
class Due:
    """What may be taken in hand here, in order; and what another process should begin now that has accepted it."""

    here: list[RunRow]
    elsewhere: list[RunRow]


def due(unfinished: Sequence[RunRow], here: Here, gone: Gone, limits: Limits) -> Due:
    """Look through the runs that have not ended, oldest first."""

    def free(row: RunRow) -> bool:
        # A run that is ours by its row but not in our hands waits, or was dropped by an error: we may take it.
        of = row.executor
        return of is None or of in gone or of == here.name

    others = [row for row in unfinished if row.id not in here.mine or at_work(row)]
    orphans = [r for r in others if at_work(r) and free(r) and r.id not in here.mine and here.can(r)]
    begin = next_up(others, limits, lambda row: here.can(row) if free(row) else True)
    return Due(
        here=[*orphans, *(row for row in begin if free(row))],
        elsewhere=[row for row in begin if not free(row) and here.can(row)],
    )


async def take(connection: AsyncConnection, row: RunRow, me: str, gone: Gone) -> Taken | None:
    """Begin an attempt at the run as it was seen, here; None if it is another's by now, or was given up."""
    of = row.executor
    hung = gone.hung if gone.hung and of in gone.hung else None
    if of is not None and hung is not None:
        if await pulse.beat_of(connection, of) != hung[of]:
            return None  # it goes on after all
        if row.kind == "team_task":
            # The conversation of a turn under way stays locked while its process hangs. Without its row the turn is
            # taken anew in a conversation of its own, and what the process may bring of it later finds no row.
            await connection.execute(_GIVE_UP_TURNS, {"run": row.id})
    elif of is not None and of in gone.ended:
        await pulse.forget(connection, of)
    if row.attempts >= MAX_ATTEMPTS:
        await _give_up(connection, row)
        return None
    return await rows.begin(connection, row.id, of, me)


async def _give_up(connection: AsyncConnection, seen: RunRow) -> None:
    text = f"given up: the process that executed it ended or hung in each of {seen.attempts} attempts."
    row = await rows.find(connection, seen.id, lock=True)
    if row.executor == seen.executor and row.attempts == seen.attempts and row.status in ("queued", "working"):
        await rows.move(connection, row, "failed", Entry("atlas", "run_failed", text), error=text)


async def try_take(connection: AsyncConnection, row: RunRow, me: str, gone: Gone) -> Taken | None:
    """As `take`; None also where another process was first at the same moment."""
    try:
        return await take(connection, row, me, gone)
    except RunLost:
        return None
