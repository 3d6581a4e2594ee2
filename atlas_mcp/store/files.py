"""The database files in the home: closed to other users, and called by name where they are damaged.

Promise: a database is private before anything is in it, and so is what SQLite puts beside it, which takes over the mode
of the file. Looking at a file reads its first bytes only, opens no database and changes nothing.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from atlas_mcp.errors import BrokenStore

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

_MAGIC = b"SQLite format 3\0"
_DAMAGE = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_CANTOPEN)
_OTHERS = 0o077


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


def look(path: Path) -> BrokenStore | None:
    """What is wrong with the file, as far as its beginning tells; None also for one that is empty or not there yet."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_MAGIC))
    except FileNotFoundError:
        return None
    except OSError as error:
        return BrokenStore(str(path), (error.strerror or str(error)).lower())
    return None if head in (b"", _MAGIC) else BrokenStore(str(path), "file is not a database")


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
