"""The record: one relational database that several processes share, SQLite in a home folder or PostgreSQL.

Promise: a read sees one state of the whole record; a write is in it whole or not at all, also when its task is
cancelled or its process is killed. Of two writes of one caller's rows one is over before the other begins, so what a
write has read is still true when it commits. The schema is brought up to date before the record opens; a record of a
newer ATLAS is refused and left as it is.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.postgres import Postgres


class Record(Protocol):
    """An open record; made by `open_record`.

    Each of its doors raises LockTimeout when another process keeps the record for half a minute, and StoreUnavailable
    when the database is gone or full: then nothing was changed.
    """

    @property
    def database(self) -> Postgres | None:
        """The PostgreSQL that it is in; None for a file of the home."""
        ...

    @property
    def connections(self) -> int:
        """How many connections to the database this process has open at this time, in use or kept for use."""
        ...

    def look(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `read`, for a few rows found by their keys, which are read in the quickest way there is."""
        ...

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A snapshot: all that is read through this connection is of one moment. Keep the body short."""
        ...

    def write(self, of: str | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """Commits at the end, rolls back on any error and on cancellation.

        With `of`, the id of a caller or of whoever else has rows of their own, it is the only writer of those rows and
        may change no others; without, it is the only writer there is. Keep the body short and free of outside calls:
        other writers wait. A write within a write of the same task never ends.
        """
        ...

    def jot(self, of: str | None = None) -> AbstractAsyncContextManager[AsyncConnection]:
        """As `write`, for a few small rows, which are written in the quickest way there is; the body waits for nothing
        but this connection."""
        ...


@asynccontextmanager
async def open_record(home: Path, database: Postgres | None = None) -> AsyncGenerator[Record]:
    """The record in that database, or without one at `<home>/atlas.db`, made and migrated if need be.

    Raises NewerRecord for one of a newer ATLAS, BrokenStore for a file that is damaged, ConfigurationError for a
    database that refuses us, StoreUnavailable for one that does not answer.
    """
    if database is None:
        from atlas_mcp.store import sqlite as means

        opening = means.opened(home)
    else:
        from atlas_mcp.store import postgres_record

        opening = postgres_record.opened(database)
    async with opening as record:
        yield record


def pooled(pool: Any) -> int:
    """How many connections SQLAlchemy's pool has open."""
    return pool.checkedin() + pool.checkedout()


async def unbroken(work: Coroutine[Any, Any, None]) -> tuple[asyncio.Task[None], asyncio.CancelledError | None]:
    """The ended task of the work, and the cancellation that came meanwhile, for the caller to go on with.

    Cut in the middle of a commit, nobody would know whether it happened. A shield of anyio's is not enough: LangGraph
    and DBOS cancel in asyncio's own way. So the work has a task of its own, and its caller waits the millisecond until
    it is over.
    """
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    return task, cancelled
