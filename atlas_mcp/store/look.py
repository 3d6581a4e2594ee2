"""Looks and jots: a few rows found by their keys, or written, in the event loop's own thread.

Such rows are there sooner than another thread is woken, and without the switches that SQLAlchemy's asynchronous
connections make for each of their steps. In WAL mode no writer holds up a reader; only the repair of the file by
another process does, and is waited for at most MAX_WAIT_MS. A jot waits for nobody: where another process writes, or
the log is due to be carried into the file, it is not begun, and whoever wanted it goes the way of other writes.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, CursorResult, Engine, Executable

MAX_WAIT_MS = 500
_EACH = 64
"""How many jots there are to one that goes the other way, and whose commit carries the log into the file."""


class Look:
    """A transaction with the one method of SQLAlchemy's AsyncConnection that a look or a jot takes."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(
        self, statement: Executable, parameters: Mapping[str, Any] | Sequence[Mapping[str, Any]] | None = None
    ) -> CursorResult[Any]:
        """What the statement gives."""
        return self._connection.execute(statement, parameters)


class Jots:
    """The way of writing in this thread; one at a time."""

    def __init__(self, path: Path, pragmas: Sequence[str]) -> None:
        # Carrying the log into the file takes the disk's time: it is left to the threads of other writes.
        self.engine = _engine(path, (*pragmas, "wal_autocheckpoint=0"), "BEGIN IMMEDIATE", wait_ms=0)
        self._left = _EACH

    def begun(self) -> Connection | None:
        """A connection in a transaction, or None when this one is to go another way."""
        self._left -= 1
        if self._left < 0:
            self._left = _EACH
            return None
        try:
            return _in_transaction(self.engine)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY:
                return None
            raise


def _in_transaction(engine: Engine) -> Connection:
    connection = engine.connect()
    try:
        connection.begin()
    except BaseException:
        connection.close()
        raise
    return connection


def engine(path: Path, pragmas: Sequence[str]) -> Engine:
    """Connections for looks, each of one moment from its first statement on; nobody waits for one."""
    return _engine(path, pragmas, "BEGIN", wait_ms=MAX_WAIT_MS)


def _engine(path: Path, pragmas: Sequence[str], begin_with: str, *, wait_ms: int) -> Engine:
    from sqlalchemy import create_engine, event

    made = create_engine(
        f"sqlite:///{path}",
        connect_args={"isolation_level": None, "timeout": wait_ms / 1000, "check_same_thread": False},
        pool_size=4,
        max_overflow=-1,
        pool_reset_on_return=None,  # SQLAlchemy's own transaction is rolled back where it is closed
    )

    def prepare(connection: Any, _: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection
        driver.execute(begin_with)

    event.listen(made, "connect", prepare)
    event.listen(made, "begin", begin)
    return made
