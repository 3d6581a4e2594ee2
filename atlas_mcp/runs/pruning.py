"""Throwing away old runs with all that they kept, so that a home does not grow for ever.

Only what has ended is deleted, whole or not at all, a few runs in one transaction. What agents learned, what was said
in groups, and traces are not the runs' and stay; what was spent on the present day is still counted.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import JSON, LargeBinary, String, Text, cast, delete, func, select

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.run import ENDED
from atlas_mcp.store import tables
from atlas_mcp.store.quality_tables import feedback
from atlas_mcp.store.reach_tables import consent, held_call, source

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

_AT_ONCE = 100
_RUN = tables.run
_KEPT: tuple[Table, ...] = (
    tables.event,
    tables.artifact,
    tables.question,
    tables.turn,
    tables.ledger,
    feedback,
    source,
    consent,
    held_call,
)


class Pruned(Frozen):
    """What was deleted: so many runs, which held so many bytes of text in the record."""

    runs: int = 0
    bytes: int = 0


async def prune(record: Record, older_than: timedelta, *, caller: str | None = None, keep: int = 0) -> Pruned:
    """Delete the runs that ended longer ago than that, of one caller or all; each caller's newest `keep` stay.

    InvalidInput for a time or a number below zero.
    """
    if older_than.total_seconds() < 0:
        raise InvalidInput("it lies in the future.", argument="older_than", next_step="Give a time of zero or more.")
    if keep < 0:
        raise InvalidInput(f"must be zero or more, not {keep}.", argument="keep")
    before = datetime.now(UTC) - older_than
    done = Pruned()
    while True:
        async with record.write() as connection:
            chosen = await _old(connection, before, caller, keep)
            size = await _delete(connection, chosen)
        done = Pruned(runs=done.runs + len(chosen), bytes=done.bytes + size)
        if len(chosen) < _AT_ONCE:
            return done


async def _old(connection: AsyncConnection, before: datetime, caller: str | None, keep: int) -> list[str]:
    newest = func.row_number().over(partition_by=_RUN.c.caller, order_by=(_RUN.c.created_at.desc(), _RUN.c.id.desc()))
    ended = select(_RUN.c.id, _RUN.c.updated_at, newest.label("place")).where(_RUN.c.status.in_(ENDED))
    if caller is not None:
        ended = ended.where(_RUN.c.caller == caller)
    found = ended.subquery()
    old = select(found.c.id).where(found.c.updated_at < before, found.c.place > keep)
    return list((await connection.execute(old.order_by(found.c.updated_at).limit(_AT_ONCE))).scalars())


async def _delete(connection: AsyncConnection, run_ids: Sequence[str]) -> int:
    """Delete the runs and what they kept; how many bytes that was."""
    size = 0
    today = datetime.now(UTC).date().isoformat()
    for table, column in [*((table, "run_id") for table in _KEPT), (_RUN, "id")]:
        these = table.c[column].in_(run_ids)
        if table is tables.ledger:
            these &= table.c.day < today
        size += (await connection.execute(select(_bytes(connection, table)).where(these))).scalar_one() or 0
        await connection.execute(delete(table).where(these))
    return size


def _bytes(connection: AsyncConnection, table: Table) -> ColumnElement[Any]:
    sizes = [
        func.coalesce(_length(connection, column), 0) for column in table.c if isinstance(column.type, String | JSON)
    ]
    total = sizes[0]
    for size in sizes[1:]:
        total += size
    return func.sum(total)


def _length(connection: AsyncConnection, column: ColumnElement[Any]) -> ColumnElement[Any]:
    text = cast(column, Text)
    return func.octet_length(text) if connection.dialect.name == "postgresql" else func.length(cast(text, LargeBinary))
