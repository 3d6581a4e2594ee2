"""Looks: a few rows found by their keys, read in the event loop's own thread.

Such rows are there sooner than another thread is woken, and without the switches that SQLAlchemy's asynchronous
connections make for each of their steps. In WAL mode no writer holds up a reader; only the repair of the file by
another process does, and is waited for at most MAX_WAIT_MS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from sqlalchemy import Connection, CursorResult, Engine, Executable

MAX_WAIT_MS = 500


class Look:
    """A reading transaction with the one method of SQLAlchemy's AsyncConnection that reading takes."""

    __slots__ = ("_connection",)

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def execute(self, statement: Executable, parameters: Mapping[str, Any] | None = None) -> CursorResult[Any]:
        """The rows of a SELECT."""
        return self._connection.execute(statement, parameters)


def engine(path: Path, pragmas: Sequence[str]) -> Engine:
    """Connections for looks, each of one moment from its first statement on; nobody waits for one."""
    from sqlalchemy import create_engine, event

    made = create_engine(
        f"sqlite:///{path}",
        connect_args={"isolation_level": None, "timeout": MAX_WAIT_MS / 1000, "check_same_thread": False},
        pool_size=4,
        max_overflow=-1,
    )

    def prepare(connection: Any, _: Any) -> None:
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN")

    event.listen(made, "connect", prepare)
    event.listen(made, "begin", begin)
    return made
