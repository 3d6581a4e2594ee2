"""Files of the home: closed to other users; databases that are damaged are called by name.

Promise: a database is private before anything is in it, and so is what SQLite puts beside it, which takes over the mode
of the file. Looking at a file reads its first page only, and changes nothing. It is SQLite that looks: who opens and
closes such a file by hand takes away the locks of all connections that its process has to it (POSIX locks belong to the
process; see https://sqlite.org/howtocorrupt.html, 2.2).
"""

from __future__ import annotations

import os
import sqlite3
import time
import uuid
from contextlib import closing, contextmanager, suppress
from time import sleep
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import BrokenStore

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN)
_OTHERS = 0o077
_PAUSE_SECONDS = 0.02


def make_private(path: Path) -> None:
    """Take a file's permissions from everybody but its owner."""
    with suppress(OSError):  # it is gone, or belongs to somebody else, who decides about it
        mode = path.stat().st_mode
        if mode & _OTHERS:
            path.chmod(mode & 0o700)


def prepare(path: Path) -> None:
    """Make the file if there is none, with mode 0600. Raises BrokenStore for one that is no database."""
    if error := look(path):
        raise error
    path.touch(mode=0o600)
    make_private(path)


def write_private(path: Path, text: str) -> None:
    """Write the file, with mode 0600, whole or not at all."""
    # Written beside and moved: a reader sees nothing or all, and a crash leaves no half of a key.
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def look(path: Path) -> BrokenStore | None:
    """What is wrong with the file, as far as its beginning tells; None also for one that is empty or not there yet."""
    if not path.exists():
        return None
    if not path.is_file():
        return BrokenStore(str(path), "it is a folder")
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            connection.execute("PRAGMA schema_version")
    except sqlite3.Error as error:
        return BrokenStore(str(path), str(error))
    return None


@contextmanager
def damage_told(path: Path) -> Generator[None]:
    """Raise what SQLite says of a damaged file as BrokenStore, also where SQLAlchemy has wrapped it."""
    try:
        yield
    except Exception as error:
        said = getattr(error, "orig", error)
        code = getattr(said, "sqlite_errorcode", None)
        if code is None or code & 0xFF not in _DAMAGE:
            raise
        raise BrokenStore(str(path), str(said)) from error


def write_ahead(connection: Any, seconds: float) -> None:
    """Put the connection's file into WAL mode, trying for so long. Blocks: call it in a thread.

    While another process does the same to a new file, or writes into one that is not in it yet, SQLite refuses at once,
    whatever timeout the connection has: only asking again waits.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        else:
            return
        sleep(_PAUSE_SECONDS)
