"""A run's journal: events numbered from 1 without gaps, each written in the transaction of the change it tells.

The number comes from the run's row, so whoever may not change the row cannot write an event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select

from atlas_mcp.model.run import Event
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.runs.changes import Entry

_EVENT = tables.event
_INSERT = insert(_EVENT)
_AFTER = (
    select(_EVENT).where(_EVENT.c.run_id == bindparam("run"), _EVENT.c.seq > bindparam("since")).order_by(_EVENT.c.seq)
)


async def append(
    connection: AsyncConnection, run_id: str, seq: int, at: datetime, entry: Entry, cause: int | None = None
) -> None:
    """Write the entry as number `seq`, which the caller has just taken from the run's row."""
    await write(connection, run_id, [(numbered(entry, seq, at, cause), entry.key)])


async def write(connection: AsyncConnection, run_id: str, events: Sequence[tuple[Event, str | None]]) -> None:
    """Write the events with their keys; their numbers were taken from the run's row in this transaction."""
    if events:
        await connection.execute(_INSERT, [{"run_id": run_id, "key": key, **vars(event)} for event, key in events])


def numbered(entry: Entry, seq: int, at: datetime, cause: int | None = None) -> Event:
    """The entry as an event, which that earlier one led to."""
    return Event(
        seq=seq,
        at=at,
        actor=entry.actor,
        type=entry.type,
        text=entry.text,
        turn_id=entry.turn_id,
        cause=cause,
        data=entry.data,
    )


async def after(connection: AsyncConnection, run_id: str, since: int) -> list[Event]:
    """The events with a number above `since`, in order."""
    found = await connection.execute(_AFTER, {"run": run_id, "since": since})
    return [event(row) for row in found]


def event(row: Row[*tuple[Any, ...]]) -> Event:
    """The event in that row."""
    return Event(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        type=row.type,
        text=row.text,
        turn_id=row.turn_id,
        cause=row.cause,
        data=row.data,
    )
