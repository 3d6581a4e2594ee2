"""SQLite in a thread of its own, visited once for each statement.

aiosqlite goes to its thread four times for one statement: for a cursor, to execute, to fetch and to close. Each visit
costs about as much as a small statement itself. Here a statement is executed, its rows are fetched and its cursor is
closed in one visit, so that it is also done whole whenever its caller is cancelled. In a transaction that `begin`
announced, its beginning and whatever only inserts wait for the next visit, be it the commit, which is then the one that
raises what they met. Nobody waits for a rollback: the thread does one thing after the other, so whatever comes next
finds it rolled back. Outside of a transaction every call is one: `executemany` stores all of its rows or none.

SQLAlchemy stops a connection whose statement was cancelled, and waits for nothing: its thread may have the answer only
when the loop is closed, and then says nothing, where aiosqlite's own would end with an error and leave the file open.
"""

from __future__ import annotations

import asyncio
import re
import sqlite3
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple, Self, cast

import aiosqlite
from aiosqlite.context import contextmanager
from aiosqlite.core import (
    _STOP_RUNNING_SENTINEL as _STOP,  # pyright: ignore[reportPrivateUsage]  # what its `stop` gives its thread
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
    from pathlib import Path
    from types import TracebackType

_EVERY = 64


async def connect(path: Path, *, busy_seconds: float) -> Connection:
    """An open connection that begins no transaction by itself and waits so long for other processes."""

    def open_file() -> sqlite3.Connection:
        return sqlite3.connect(path, isolation_level=None, timeout=busy_seconds)

    connection = Connection(open_file, _EVERY)
    connection.let_process_end()
    await connection
    return connection


class Connection(aiosqlite.Connection):
    """A connection whose cursors have their rows with them."""

    _in_ours = False
    _begun = False
    _stopped: asyncio.Future[Any] | None = None

    def __init__(self, connector: Callable[[], sqlite3.Connection], iter_chunk_size: int) -> None:
        super().__init__(connector, iter_chunk_size)
        self._waiting: list[Statement] = []

    def begin(self, statement: str) -> None:
        """Begin a transaction with this statement before the next one that is executed."""
        self._in_ours, self._begun = True, False
        self._waiting = [Statement(statement)]

    def stop(self) -> asyncio.Future[Any] | None:
        """Stop the thread; when it was told so before, what it was told then."""
        # SQLAlchemy closes and stops a connection whose statement was cancelled: a second word reaches nobody.
        if self._stopped is None:
            self._stopped = super().stop()  # pyright: ignore[reportUnknownMemberType]  # untyped there
        return self._stopped

    def let_process_end(self) -> None:
        """Keep no process alive for a connection that nobody closed."""
        self._thread = Thread(target=_work, args=(cast("Any", self)._tx,), daemon=True)

    def cursor(self) -> Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]  # entered and awaited all the same
        """A cursor; there is nothing to open."""
        return Cursor(self)

    @contextmanager
    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Cursor:  # pyright: ignore[reportIncompatibleMethodOverride]  # see cursor
        """A cursor that has executed the statement."""
        return await Cursor(self).execute(sql, parameters)

    async def commit(self) -> None:
        """Commit, if anything was done."""
        waiting, self._in_ours = self._take_waiting(), False
        if self._begun or len(waiting) > 1:  # the one is the beginning of a transaction in which nothing was done
            self._begun = True
            try:
                await self._visit([*waiting, Statement("COMMIT")])
            except BaseException:
                await self.rollback()  # SQLAlchemy takes a transaction whose commit failed to be over
                raise
            self._begun = False
        elif self.in_transaction:
            await super().commit()

    async def rollback(self) -> None:
        """Roll back what was begun, before whatever comes next; never waits."""
        self._take_waiting()
        self._in_ours = False
        if self._begun or self.in_transaction:
            self._begun = False
            thread: Any = cast("Any", self)._tx  # its queue; what has no future is done and not waited for
            thread.put_nowait((None, self._conn.rollback))

    async def visit(self, sql: str, parameters: Any, *, many: bool) -> Outcome:
        """Execute in the thread and bring everything back; what need not be waited for is done by the next visit."""
        statement = Statement(sql, parameters, many)
        if self._in_ours and statement.only_inserts:
            self._waiting.append(statement)
            return NOTHING_YET
        waiting = self._take_waiting()
        self._begun = self._begun or bool(waiting)  # also if the caller is cancelled: the thread does it all the same
        return await self._visit([*waiting, statement])

    def _take_waiting(self) -> list[Statement]:
        waiting, self._waiting = self._waiting, []
        return waiting

    async def _visit(self, statements: list[Statement]) -> Outcome:
        visiting = cast("Callable[..., Awaitable[Outcome]]", self._execute)  # pyright: ignore[reportUnknownMemberType]  # untyped there
        return await visiting(_all_of_them, self._conn, statements)


def _work(visits: Any) -> None:
    while True:
        future, function = visits.get()
        result = error = None
        try:
            result = function()
        except BaseException as failure:  # noqa: BLE001 - for who waits
            error = failure
        if future is not None:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                future.get_loop().call_soon_threadsafe(_answer, future, result, error)
        if result is _STOP:
            return
        del future, function, result, error  # nothing is kept alive until the next visit


def _answer(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    if future.done():
        return  # who asked was cancelled
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)


class Statement(NamedTuple):
    """A statement with its parameters; `many`: once for each of them."""

    sql: str
    parameters: Any = ()
    many: bool = False

    @property
    def only_inserts(self) -> bool:
        """Whether it tells its caller nothing: no rows, and no number of them that could be other than expected."""
        return self.sql.startswith("INSERT INTO") and not _TELLING.search(self.sql)


_TELLING = re.compile(r"\b(RETURNING|ON CONFLICT)\b")


class Outcome:
    """What a statement came to."""

    __slots__ = ("description", "lastrowid", "rowcount", "rows")

    def __init__(self, cursor: sqlite3.Cursor | None = None) -> None:
        described = cursor is not None and cursor.description
        self.rows: list[Any] = cursor.fetchall() if cursor is not None and described else []
        self.description: Any = described or None
        self.rowcount = cursor.rowcount if cursor is not None else -1  # known when the rows are fetched
        self.lastrowid = cursor.lastrowid if cursor is not None else None


NOTHING_YET = Outcome()


class Cursor:
    """The outcome of one statement after the other, with aiosqlite's methods."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._outcome: Outcome | None = None
        self._taken = 0
        self.arraysize = 1

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> Self:
        """Execute the statement and fetch its rows."""
        self._outcome, self._taken = await self._connection.visit(sql, parameters or (), many=False), 0
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> Self:
        """Execute the statement with each of the parameters: all or none."""
        self._outcome, self._taken = await self._connection.visit(sql, parameters, many=True), 0
        return self

    async def fetchone(self) -> Any:
        """The next row; None after the last."""
        return next(iter(self._take(1)), None)

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """The next rows."""
        return self._take(self.arraysize if size is None else size)

    async def fetchall(self) -> list[Any]:
        """The rest of the rows."""
        return self._take(None)

    async def close(self) -> None:
        """Forget the rows."""
        self._outcome = None

    @property
    def description(self) -> Any:
        """What the columns are called; None without rows."""
        return self._outcome.description if self._outcome else None

    @property
    def rowcount(self) -> int:
        """How many rows were changed; -1 where that means nothing."""
        return self._outcome.rowcount if self._outcome else -1

    @property
    def lastrowid(self) -> int | None:
        """The number of the row that was inserted last."""
        return self._outcome.lastrowid if self._outcome else None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def __aiter__(self) -> AsyncIterator[Any]:
        for row in self._take(None):
            yield row

    def _take(self, size: int | None) -> list[Any]:
        rows = self._outcome.rows if self._outcome else []
        taken = rows[self._taken : None if size is None else self._taken + size]
        self._taken += len(taken)
        return taken


def _all_of_them(connection: sqlite3.Connection, statements: list[Statement]) -> Outcome:
    cursor = connection.cursor()
    try:
        for sql, parameters, many in statements:
            if not many:
                cursor.execute(sql, parameters)
            elif connection.in_transaction:
                cursor.executemany(sql, parameters)
            else:
                _in_one_go(connection, cursor, sql, parameters)
        return Outcome(cursor)
    finally:
        cursor.close()


def _in_one_go(connection: sqlite3.Connection, cursor: sqlite3.Cursor, sql: str, parameters: Any) -> None:
    connection.execute("BEGIN IMMEDIATE")
    try:
        cursor.executemany(sql, parameters)
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise
