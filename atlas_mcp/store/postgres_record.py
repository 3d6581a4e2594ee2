"""The record on PostgreSQL, which any number of machines share.

Two writes of one caller wait for each other, and a write of the whole record waits for all and all wait for it, by
advisory locks that are part of the transaction: one question more in the message that begins it. Without them, what a
write has read could have been changed by another before it commits. Row locks would have to be taken by every query on
its own, and serializable transactions be tried again, which a body cannot be that has done something else meanwhile.

A server that is gone for a while is waited for, PATIENCE seconds at most, by whoever begins; what had begun has failed.
"""

from __future__ import annotations

import hashlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.lowlevel
import anyio.to_thread

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.store._schema import upgrade_postgres
from atlas_mcp.store.fair import FairSlots
from atlas_mcp.store.record import pooled, unbroken

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from atlas_mcp.store.postgres import Postgres

PATIENCE = 12.0
_PAUSE = 0.1
_READERS, _WRITERS = 4, 4
_SNAPSHOT = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"


class PostgresRecord:
    """See `record.Record`."""

    def __init__(self, database: Postgres, engine: AsyncEngine) -> None:
        self.database = database
        self._engine = engine
        self._reading = anyio.Semaphore(_READERS, fast_acquire=True)
        self._writing = FairSlots(_WRITERS, of_one=1)  # a second would only wait in the database

    @property
    def connections(self) -> int:
        """Open ones; those of locks apart."""
        return pooled(self._engine.pool)

    @asynccontextmanager
    async def look(self) -> AsyncGenerator[AsyncConnection]:
        """A snapshot, as `read`."""
        async with self.read() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A snapshot; whatever would write is refused by the server."""
        async with self._reading, self._transaction(_SNAPSHOT, commit=False) as connection:
            yield connection

    @asynccontextmanager
    async def write(self, of: str | None = None) -> AsyncGenerator[AsyncConnection]:
        """The only writer of that caller's rows, or of all."""
        async with self._writing.slot(of), self._transaction(_begin_write(of), commit=True) as connection:
            yield connection

    @asynccontextmanager
    async def jot(self, of: str | None = None) -> AsyncGenerator[AsyncConnection]:
        """As `write`."""
        async with self.write(of) as connection:
            yield connection

    @asynccontextmanager
    async def _transaction(self, begin: str, *, commit: bool) -> AsyncGenerator[AsyncConnection]:
        await anyio.lowlevel.checkpoint_if_cancelled()
        connection = await self._begun(begin)
        try:
            with self.database.told():
                yield connection
            if commit:
                ended, cancelled = await unbroken(connection.commit())
                with self.database.told():
                    ended.result()
                if cancelled is not None:
                    raise cancelled
        finally:
            await _closed(connection)

    async def _begun(self, begin: str) -> AsyncConnection:
        """A connection in a transaction. The pool's own may have died with a server that is long back."""
        deadline = anyio.current_time() + PATIENCE
        while True:
            try:
                with self.database.told():
                    return await self._begin(begin)
            except StoreUnavailable:
                if anyio.current_time() > deadline:
                    raise
            await anyio.sleep(_PAUSE)

    async def _begin(self, begin: str) -> AsyncConnection:
        connection = await self._engine.connect()
        try:
            await connection.begin()  # SQLAlchemy's word only: psycopg says nothing to the server by itself
            raw = await connection.get_raw_connection()
            await raw.driver_connection.execute(begin)  # pyright: ignore[reportOptionalMemberAccess]  # it is connected
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.invalidate()
                await connection.close()
            raise
        return connection


@asynccontextmanager
async def opened(database: Postgres) -> AsyncGenerator[PostgresRecord]:
    """The record in that database; see `open_record`."""
    await anyio.to_thread.run_sync(upgrade_postgres, database)
    engine = _engine(database)
    try:
        yield PostgresRecord(database, engine)
    finally:
        with anyio.CancelScope(shield=True):
            await engine.dispose()


def _begin_write(of: str | None) -> str:
    if of is None:
        return f"BEGIN; SELECT pg_advisory_xact_lock({_key('')})"
    return f"BEGIN; SELECT pg_advisory_xact_lock_shared({_key('')}), pg_advisory_xact_lock({_key(of)})"


def _key(of: str) -> int:
    return int.from_bytes(hashlib.sha256(f"atlas-write {of}".encode()).digest()[:8], signed=True)


async def _closed(connection: AsyncConnection) -> None:
    """Give it back to the pool, which rolls back what was not committed."""
    ended, cancelled = await unbroken(connection.close())
    ended.result()
    if cancelled is not None:
        raise cancelled


def _engine(database: Postgres) -> AsyncEngine:
    from sqlalchemy import event
    from sqlalchemy.ext.asyncio import create_async_engine

    engine = create_async_engine(
        "postgresql+psycopg://",
        async_creator=database.connect_async,
        pool_size=_READERS + _WRITERS,
        max_overflow=0,
        use_native_hstore=False,
    )

    @event.listens_for(engine.sync_engine, "before_cursor_execute", retval=True)
    def take_nul_away(_c: Any, _u: Any, statement: str, parameters: Any, _x: Any, _m: bool) -> tuple[str, Any]:  # pyright: ignore[reportUnusedFunction]
        # PostgreSQL keeps no NUL in a text, and a model may say one.
        return statement, _plain(parameters)

    return engine


def _plain(parameters: Any) -> Any:
    if isinstance(parameters, list):
        return [_plain(each) for each in cast("list[Any]", parameters)]
    if not isinstance(parameters, dict):
        return parameters
    given = cast("dict[str, Any]", parameters)
    if not any(isinstance(value, str) and "\0" in value for value in given.values()):
        return given
    return {name: v.replace("\0", "\ufffd") if isinstance(v, str) else v for name, v in given.items()}
