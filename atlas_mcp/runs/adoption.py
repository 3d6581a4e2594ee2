"""Taking over runs that nobody executes: those whose process died, and those that waited for one that can do them.

A process lives while it holds the lock `executor-<name>`; the system frees it when the process ends, and keeps it when
it is only frozen. Of several that want the same run, one gets it. A run is taken only by a process that has keys for
the providers it needs; after MAX_ATTEMPTS attempts whose process died it is failed, so that a run which kills its
process does not go on doing so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.errors import RunLost
from atlas_mcp.runs import rows
from atlas_mcp.runs.changes import Entry

if TYPE_CHECKING:
    from collections.abc import Collection

    from atlas_mcp.runs.rows import RunRow
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

MAX_ATTEMPTS = 3


def lock_of(executor: str) -> str:
    """The name of the lock that the process holds while it lives."""
    return f"executor-{executor}"


def lacking(row: RunRow, providers: Collection[str]) -> list[str]:
    """The providers the run needs and this process has no key for."""
    return [name for name in row.needs if name not in providers]


def orphaned(row: RunRow, locks: Locks) -> bool:
    """Whether no living process executes the run."""
    return row.executor is None or not locks.is_held(lock_of(row.executor))


async def adopt(
    record: Record,
    locks: Locks,
    me: str,
    *,
    mine: Collection[str],
    kinds: Collection[str],
    providers: Collection[str],
    room: int,
) -> list[str]:
    """Make up to `room` orphaned runs this process's, and give their ids; `mine` are those it has already."""
    adopted: list[str] = []
    async with record.read() as connection:
        unfinished = await rows.unfinished(connection)
    for row in unfinished:
        if len(adopted) >= room:
            break
        if row.id in mine or row.kind not in kinds or lacking(row, providers):
            continue
        # A run that is ours by its row but not in our hands was dropped by an error: we are its orphanage too.
        if row.executor != me and not orphaned(row, locks):
            continue
        if row.attempts >= MAX_ATTEMPTS:
            await _give_up(record, row)
        elif await _claim(record, row, me):
            adopted.append(row.id)
    return adopted


async def _claim(record: Record, row: RunRow, me: str) -> bool:
    async with record.write() as connection:
        return await rows.claim(connection, row.id, row.executor, me)


async def _give_up(record: Record, seen: RunRow) -> None:
    text = f"given up: the process that executed it ended in each of {seen.attempts} attempts."
    try:
        async with record.write() as connection:
            row = await rows.find(connection, seen.id)
            if row.executor == seen.executor and row.attempts == seen.attempts and row.status in ("queued", "working"):
                await rows.move(connection, row, "failed", Entry("atlas", "run_failed", text), error=text)
    except RunLost:
        return  # another process was first
