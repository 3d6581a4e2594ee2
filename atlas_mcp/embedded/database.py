"""One SQLite file, used by one worker at a time and never on the event loop.

`read` gives a snapshot, `write` is BEGIN IMMEDIATE to COMMIT: either all of it is in the file or nothing, also after
kill -9. Several processes may use one file (WAL). The file is opened and migrated at the first use, so a server that is
never asked anything touches nothing.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import TypeVar

import anyio

from atlas_mcp.embedded import migrations
from atlas_mcp.embedded.faults import Refused, Unusable

T = TypeVar("T")
_BUSY_SECONDS = 30.0
_PAUSE_SECONDS = 0.02


def new_id(kind: str) -> str:
    """A fresh id in Letta's form, such as `agent-<uuid4>`."""
    return f"{kind}-{uuid.uuid4()}"


def now() -> str:
    """This moment as ISO 8601 in UTC, with microseconds: as text it sorts as time does."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def moment(text: str) -> str:
    """A client's ISO 8601 time in the form of `now`. Raises a 422 for what is no time; without an offset it is UTC."""
    try:
        given = datetime.fromisoformat(text)
    except ValueError:
        raise Refused(422, f"{text!r} is not a time in ISO 8601") from None
    return (given if given.tzinfo else given.replace(tzinfo=UTC)).astimezone(UTC).isoformat(timespec="microseconds")


class Database:
    """The file. Calls queue for its only connection; a cancelled call still finishes its transaction first."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._worker: ThreadPoolExecutor | None = None

    async def read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` in one snapshot of the file."""
        return await self._in_worker(lambda: self._transaction("BEGIN", work))

    async def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """`work` as one transaction; whatever it raises undoes all of it."""
        return await self._in_worker(lambda: self._transaction("BEGIN IMMEDIATE", work))

    async def aclose(self) -> None:
        """Closes the file; the next call opens it again."""
        await self._in_worker(self._close)
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.shutdown(wait=False)  # it ends when what is queued is done; waiting here would stop the event loop

    async def _in_worker(self, work: Callable[[], T]) -> T:
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "letta-database")
        # asyncio's own way into a thread takes half of what anyio's takes; LangGraph needs asyncio anyway.
        done = asyncio.get_running_loop().run_in_executor(self._worker, work)
        with anyio.CancelScope(shield=True):
            await done
        return done.result()

    def _transaction(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return self._attempt(begin, work)
        except (sqlite3.DatabaseError, OSError, migrations.NewerDatabase) as error:
            if isinstance(error, sqlite3.IntegrityError | sqlite3.ProgrammingError):
                raise  # a mistake of this program, not of the file
            raise Unusable(f"The database {self._path} cannot be used: {error}") from error

    def _attempt(self, begin: str, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection or self._open()
        connection.execute(begin)
        try:
            result = work(connection)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return result

    def _open(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self._path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False, cached_statements=512
        )
        try:
            connection.row_factory = sqlite3.Row
            migrations.check(connection)  # before anything is written: opening in WAL mode changes the file
            _write_ahead(connection)
            for pragma in ("synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {pragma}")
            migrations.migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Put the file into WAL mode.

    While another process does the same to a new file, or writes into one that is not in it yet, SQLite refuses at once,
    whatever timeout the connection has: only asking again waits.
    """
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        sleep(_PAUSE_SECONDS)
