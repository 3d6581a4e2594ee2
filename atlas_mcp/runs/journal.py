"""A run's journal: events numbered from 1 without gaps, each written in the transaction of the change it tells.

The number comes from the run's row, so whoever may not change the row cannot write an event.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, exists, insert, select

from atlas_mcp.model.run import Event
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Exists, Row
    from sqlalchemy.ext.asyncio import AsyncConnection

_EVENT = tables.event
_INSERT = insert(_EVENT)
_AFTER = (
    select(_EVENT).where(_EVENT.c.run_id == bindparam("run"), _EVENT.c.seq > bindparam("since")).order_by(_EVENT.c.seq)
)


@dataclass(frozen=True)
class Entry:
    """An event before it has its number; with a `key`, it is written once in its run."""

    actor: str
    type: str
    text: str
    turn_id: str | None = None
    data: dict[str, Any] = field(default_factory=dict[str, Any])
    key: str | None = None


async def append(connection: AsyncConnection, run_id: str, seq: int, at: datetime, entry: Entry) -> Event:
    """Write the entry as number `seq`, which the caller has just taken from the run's row."""
    event = Event(
        seq=seq, at=at, actor=entry.actor, type=entry.type, text=entry.text, turn_id=entry.turn_id, data=entry.data
    )
    await connection.execute(_INSERT, {"run_id": run_id, "key": entry.key, **dict(event)})
    return event


def has_key(run: str, key: str) -> Exists:
    """Whether the run bound to the parameter `run` has an event with the key bound to `key`, as part of a statement."""
    return exists().where(_EVENT.c.run_id == bindparam(run), _EVENT.c.key == bindparam(key))


async def with_key(connection: AsyncConnection, run_id: str, key: str) -> Event | None:
    """The event that was written with that key, if any."""
    found = await connection.execute(select(_EVENT).where(_EVENT.c.run_id == run_id, _EVENT.c.key == key))
    row = found.one_or_none()
    return _event(row) if row is not None else None


async def after(connection: AsyncConnection, run_id: str, since: int) -> list[Event]:
    """The events with a number above `since`, in order."""
    found = await connection.execute(_AFTER, {"run": run_id, "since": since})
    return [_event(row) for row in found]


def _event(row: Row[*tuple[Any, ...]]) -> Event:
    return Event(
        seq=row.seq,
        at=row.at,
        actor=row.actor,
        type=row.type,
        text=row.text,
        turn_id=row.turn_id,
        data=row.data,
    )
