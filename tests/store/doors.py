"""The two doors by which the record is written: each keeps every promise of a write."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

DOORS = ("write", "jot")


def writing(record: Record, door: str, of: str | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
    """A transaction through that door."""
    return record.jot(of) if door == "jot" else record.write(of)
