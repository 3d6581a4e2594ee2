"""The record: one relational database that several processes share, SQLite in WAL mode.

Promise: a read sees one state of the whole record; a write is in it whole or not at all, also when its task is
cancelled or its process is killed. Writers of one process queue in order, and those of several wait for each other. The
schema is brought up to date before the record opens; a record of a newer ATLAS is refused and left as it is.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import anyio.to_thread

from atlas_mcp.errors import LockTimeout
from atlas_mcp.store._schema import upgrade

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable
    from pathlib import Path

    import aiosqlite
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_BUSY_MS = 30_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={_BUSY_MS}", "foreign_keys=ON")
_READERS = 4


class Record:
    """An open record; made by `open_record`."""

    def __init__(self, readers: AsyncEngine, writer: AsyncEngine) -> None:
        self._readers = readers
        self._writer = writer
        self._reading = anyio.Semaphore(_READERS, fast_acquire=True)
        self._writing = anyio.Semaphore(1, max_value=1, fast_acquire=True)

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A snapshot: all that is read through this connection is of one moment. Keep the body short."""
        async with self._reading, _transaction(self._readers, commit=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """The only writer at this time; commits at the end, rolls back on any error and on cancellation.

        Keep the body short and free of outside calls: every other writer waits. A write within a write of the same
        task never ends. LockTimeout when another process keeps the record for half a minute.
        """
        async with self._writing, _transaction(self._writer, commit=True) as connection:
            yield connection


@asynccontextmanager
async def open_record(home: Path) -> AsyncGenerator[Record]:
    """The record at `<home>/atlas.db`, made and migrated if need be. Raises NewerRecord for one of a newer ATLAS."""
    path = home / "atlas.db"
    await anyio.to_thread.run_sync(upgrade, path, home / "locks")
    readers, writer = _engine(path, "BEGIN", _READERS), _engine(path, "BEGIN IMMEDIATE", 1)
    try:
        yield Record(readers, writer)
    finally:
        with anyio.CancelScope(shield=True):
            await readers.dispose()
            await writer.dispose()


@asynccontextmanager
async def _transaction(engine: AsyncEngine, *, commit: bool) -> AsyncGenerator[AsyncConnection]:
    # Begin and end are shielded: a cancellation between them and their answer would leave a transaction open in the
    # connection's thread, and with it the whole record locked.
    connection = engine.connect()
    with anyio.CancelScope(shield=True):
        await connection.start()
        try:
            await connection.begin()
        except BaseException as error:
            await connection.close()
            if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
                raise LockTimeout(
                    "another process keeps the record to itself.", next_step="Try again in a moment."
                ) from error
            raise
    done = False
    try:
        await anyio.lowlevel.checkpoint_if_cancelled()
        yield connection
        done = True
    finally:
        with anyio.CancelScope(shield=True):
            try:
                if done and commit:
                    await connection.commit()
                else:
                    await connection.rollback()
            finally:
                await connection.close()


def _engine(path: Path, begin: str, connections: int) -> AsyncEngine:
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,  # every transaction ends in _transaction
        connect_args={"isolation_level": None},  # the driver begins nothing by itself: we say which kind
    )

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in _PRAGMAS:
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def statement(driver: aiosqlite.Connection) -> Awaitable[aiosqlite.Cursor]:
        return driver.execute(begin)

    def begin_transaction(connection: Any) -> None:
        # One hop to the connection's thread; exec_driver_sql would take four.
        connection.connection.dbapi_connection.run_async(statement)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine
