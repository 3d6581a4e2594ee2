"""The record: one relational database that several processes share, SQLite in WAL mode.

Promise: a read sees one state of the whole record; a write is in it whole or not at all, also when its task is
cancelled or its process is killed. Writers of one process queue in order, and those of several wait for each other. The
schema is brought up to date before the record opens; a record of a newer ATLAS is refused and left as it is.
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from atlas_mcp.errors import LockTimeout
from atlas_mcp.store import look
from atlas_mcp.store._schema import upgrade
from atlas_mcp.store.files import damage_told
from atlas_mcp.store.look import Look

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Generator
    from pathlib import Path

    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_BUSY_MS = 30_000
_PRAGMAS = ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON")
_READERS = 4


class Record:
    """An open record; made by `open_record`."""

    def __init__(self, lookers: Engine, readers: AsyncEngine, writer: AsyncEngine) -> None:
        self._lookers = lookers
        self._readers = readers
        self._writer = writer
        self._reading = anyio.Semaphore(_READERS, fast_acquire=True)
        self._writing = anyio.Semaphore(1, max_value=1, fast_acquire=True)

    @asynccontextmanager
    async def look(self) -> AsyncGenerator[AsyncConnection]:
        """As `read`, for a few rows found by their keys: they are read in this thread, which waits for nothing."""
        await anyio.lowlevel.checkpoint()  # nothing else here lets others go on: one who looks all the time must
        with _locked_told(), self._lookers.connect() as connection:
            yield cast("AsyncConnection", Look(connection))

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
    """The record at `<home>/atlas.db`, made and migrated if need be.

    Raises NewerRecord for one of a newer ATLAS, BrokenStore for one that is damaged.
    """
    path = home / "atlas.db"
    with damage_told(path):
        await anyio.to_thread.run_sync(upgrade, path, home / "locks")
    lookers, readers = look.engine(path, _PRAGMAS), _engine(path, "BEGIN", _READERS)
    writer = _engine(path, "BEGIN IMMEDIATE", 1)
    try:
        yield Record(lookers, readers, writer)
    finally:
        with anyio.CancelScope(shield=True):
            lookers.dispose()
            for engine in (readers, writer):
                await engine.dispose()


@asynccontextmanager
async def _transaction(engine: AsyncEngine, *, commit: bool) -> AsyncGenerator[AsyncConnection]:
    await anyio.lowlevel.checkpoint_if_cancelled()
    connection = await engine.connect()
    try:
        await connection.begin()
        with _locked_told():
            yield connection
        if commit:
            ended, cancelled = await _unbroken(connection.commit())
            with _locked_told():
                ended.result()
            if cancelled is not None:
                raise cancelled
    finally:
        # Rolls back what was not committed. Nothing here waits, so no cancellation can cut it.
        await connection.close()


@contextmanager
def _locked_told() -> Generator[None]:
    from sqlalchemy.exc import OperationalError

    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, sqlite3.OperationalError) and "locked" in str(error.orig):
            step = "Try again in a moment."
            raise LockTimeout("another process keeps the record to itself.", next_step=step) from error
        raise


async def _unbroken(work: Coroutine[Any, Any, None]) -> tuple[asyncio.Task[None], asyncio.CancelledError | None]:
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
