"""The record in a file: SQLite in WAL mode, which several processes of one machine share.

Writers of one process queue, those of one caller in order and the callers in turns; those of several processes wait
for each other, whatever they write.
"""

from __future__ import annotations

import sqlite3
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.store import look
from atlas_mcp.store._schema import upgrade
from atlas_mcp.store.fair import FairSlots
from atlas_mcp.store.files import damage_told
from atlas_mcp.store.look import Jots, Look
from atlas_mcp.store.record import pooled, unbroken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_BUSY_MS = 30_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
_READERS = 4
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_READONLY)


class SqliteRecord:
    """See `record.Record`."""

    database = None

    def __init__(self, lookers: Engine, jots: Jots, readers: AsyncEngine, writer: AsyncEngine) -> None:
        self._lookers = lookers
        self._jots = jots
        self._readers = readers
        self._writer = writer
        self._reading = anyio.Semaphore(_READERS, fast_acquire=True)
        self._writing = FairSlots(1, of_one=1)

    @property
    def connections(self) -> int:
        """Open ones, of all four kinds."""
        pools = self._lookers.pool, self._jots.engine.pool, self._readers.pool, self._writer.pool
        return sum(map(pooled, pools))

    @asynccontextmanager
    async def look(self) -> AsyncGenerator[AsyncConnection]:
        """A few rows found by their keys: they are read in this thread, which waits for nothing."""
        await anyio.lowlevel.checkpoint()  # nothing else here lets others go on: one who looks all the time must
        with _told(), self._lookers.connect() as connection:
            yield cast("AsyncConnection", Look(connection))

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A snapshot."""
        async with self._reading, _transaction(self._readers, commit=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self, of: str | None = None) -> AsyncGenerator[AsyncConnection]:
        """The only writer at this time."""
        async with self._writing.slot(of), _transaction(self._writer, commit=True) as connection:
            yield connection

    @asynccontextmanager
    async def jot(self, of: str | None = None) -> AsyncGenerator[AsyncConnection]:
        """The only writer at this time, in this thread unless another process writes."""
        await anyio.lowlevel.checkpoint()  # as in `look`
        async with self._writing.slot(of):
            with _told():
                begun = self._jots.begun()
            if begun is None:
                async with _transaction(self._writer, commit=True) as connection:
                    yield connection
                return
            with _told(), begun:  # whose end rolls back what was not committed
                yield cast("AsyncConnection", Look(begun))
                begun.commit()


@asynccontextmanager
async def opened(home: Path) -> AsyncGenerator[SqliteRecord]:
    """The record at `<home>/atlas.db`; see `open_record`."""
    path = home / "atlas.db"
    with damage_told(path):
        await anyio.to_thread.run_sync(upgrade, path, home / "locks")
    lookers, jots = look.engine(path, _PRAGMAS), Jots(path, _PRAGMAS)
    readers, writer = _engine(path, "BEGIN", _READERS), _engine(path, "BEGIN IMMEDIATE", 1)
    try:
        yield SqliteRecord(lookers, jots, readers, writer)
    finally:
        with anyio.CancelScope(shield=True):
            lookers.dispose()
            jots.engine.dispose()
            for engine in (readers, writer):
                await engine.dispose()


@asynccontextmanager
async def _transaction(engine: AsyncEngine, *, commit: bool) -> AsyncGenerator[AsyncConnection]:
    await anyio.lowlevel.checkpoint_if_cancelled()
    connection = await engine.connect()
    try:
        await connection.begin()
        with _told():
            yield connection
        if commit:
            ended, cancelled = await unbroken(connection.commit())
            with _told():
                ended.result()
            if cancelled is not None:
                raise cancelled
    finally:
        # Rolls back what was not committed. Nothing here waits, so no cancellation can cut it.
        await connection.close()


@contextmanager
def _told() -> Generator[None]:
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except (OperationalError, sqlite3.OperationalError) as error:
        said = error.orig if isinstance(error, OperationalError) else error
        if not isinstance(said, sqlite3.OperationalError):
            raise
        if "locked" in str(said):
            step = "Try again in a moment."
            raise LockTimeout("another process keeps the record to itself.", next_step=step) from error
        if getattr(said, "sqlite_errorcode", 0) & 0xFF in _FULL:
            step = "Nothing of it was stored. Make room on the disk of the home folder, then try again."
            raise StoreUnavailable(f"the record cannot be written: {said}.", next_step=step) from error
        raise


def _engine(path: Path, begin: str, connections: int) -> AsyncEngine:
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    from atlas_mcp.store.driver import connect

    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        async_creator=partial(connect, path, busy_seconds=_BUSY_MS / 1000),
        pool_size=connections,
        max_overflow=0,
        pool_reset_on_return=None,  # every transaction ends in _transaction
    )

    def prepare(connection: Any, _: Any) -> None:
        cursor = connection.cursor()
        for pragma in (*_PRAGMAS, f"busy_timeout={_BUSY_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    def begin_transaction(connection: Any) -> None:
        connection.connection.driver_connection.begin(begin)

    event.listen(engine.sync_engine, "connect", prepare)
    event.listen(engine.sync_engine, "begin", begin_transaction)
    return engine
