"""The audit log's rows: written through an open record, or into the home's file while no room is open yet."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC
from typing import TYPE_CHECKING, Any

from atlas_mcp.model.audited import Audited

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.audited import AuditQuery
    from atlas_mcp.store.home import Home

_FIELDS = tuple(Audited.model_fields)
_BUSY_SECONDS = 5.0


async def add(connection: AsyncConnection, entries: Sequence[Audited]) -> None:
    """Append the entries."""
    from atlas_mcp.store.access_tables import audit

    await connection.execute(audit.insert(), [entry.model_dump() for entry in entries])


def add_to_file(home: Home, entries: Sequence[Audited]) -> None:
    """Append the entries to the home's record, which is made or migrated if need be. Blocks: call it in a thread.

    Raises what `open_record` raises, or sqlite3.Error.
    """
    from atlas_mcp.store._schema import upgrade

    home.prepare_databases()
    upgrade(home.record, home.locks)
    rows = [tuple(_plain(getattr(entry, name)) for name in _FIELDS) for entry in entries]
    places = ", ".join("?" for _ in _FIELDS)
    with closing(sqlite3.connect(home.record, timeout=_BUSY_SECONDS)) as connection, connection:
        connection.executemany(f"INSERT INTO audit ({', '.join(_FIELDS)}) VALUES ({places})", rows)  # noqa: S608 - our own names


def _plain(value: Any) -> Any:
    """A moment as SQLAlchemy writes it there."""
    return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f") if hasattr(value, "strftime") else value


async def found(
    connection: AsyncConnection, query: AuditQuery, *, after: int | None = None
) -> list[tuple[int, Audited]]:
    """The newest entries that are asked for, oldest first, each with its number; or all of them after that number."""
    from sqlalchemy import select

    from atlas_mcp.store.access_tables import audit

    rows = select(audit).order_by(audit.c.seq.desc())
    rows = rows.limit(query.limit) if after is None else rows.where(audit.c.seq > after)
    for name in ("caller", "action", "outcome"):
        if (value := getattr(query, name)) is not None:
            rows = rows.where(audit.c[name] == value)
    rows = _within(rows, audit.c.at, query.since, query.until)
    there = [*await connection.execute(rows)]
    return [(row.seq, Audited(**{name: getattr(row, name) for name in _FIELDS})) for row in reversed(there)]


def _within(rows: Any, at: Any, since: datetime | None, until: datetime | None) -> Any:
    rows = rows if since is None else rows.where(at >= since)
    return rows if until is None else rows.where(at < until)
