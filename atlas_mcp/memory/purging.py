"""Taking from the disk what was forgotten: databases are written anew without their old pages, and files are searched.

Promise: nothing is deleted here that is not forgotten already; what cannot be made sure of is said, with the file's
name. Databases may be in use meanwhile: one that somebody keeps busy is told, and is done by the next purge.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Sequence
    from pathlib import Path

    from atlas_mcp.memory.redacting import Redactor
    from atlas_mcp.store.postgres import Postgres

_BUSY_SECONDS = 20.0
_IN_MEMORY = 256 << 20
_CHUNK = 1 << 20
_OVERLAP = 4 << 10
_SKIPPED = {"locks", "keys"}
_PACKED = {".zip", ".gz", ".atlas"}


def rewrite(path: Path) -> str | None:
    """Write a SQLite file anew, so that no deleted text is left in it or in its journal; None, or why it was not."""
    if not path.exists() or not path.stat().st_size:
        return None
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)) as connection:
            connection.execute("PRAGMA secure_delete=ON")
            if path.stat().st_size < _IN_MEMORY:
                connection.execute("PRAGMA temp_store=MEMORY")  # else the copy is made outside of the home
            indexes = "SELECT name FROM sqlite_master WHERE replace(sql, ' ', '') LIKE 'CREATEVIRTUALTABLE%USINGfts5(%'"
            for (index,) in connection.execute(indexes).fetchall():
                connection.execute(f"INSERT INTO {index}({index}) VALUES ('optimize')")  # noqa: S608 - a name of the schema
            connection.execute("VACUUM")
            busy = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    except sqlite3.Error as error:
        return f"{path.name} could not be written anew ({error})"
    return f"the journal of {path.name} is in use" if busy else None


def rewrite_postgres(database: Postgres) -> list[str]:
    """The same for all tables of the record on PostgreSQL: why some were not."""
    from psycopg import Error, sql

    problems: list[str] = []
    with closing(database.connect()) as connection:
        names = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()").fetchall()
        for (name,) in names:
            try:
                connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(name)))
            except Error as error:
                problems.append(f"the table {name} could not be written anew ({str(error).splitlines()[0]})")
    return problems


def blot(folder: Path, redactor: Redactor) -> int:
    """Overwrite the lines of log files that hold the text, in place: others write on in them. How many lines."""
    count = 0
    for path in folder.glob("*.log*") if folder.exists() else ():
        with path.open("r+b") as file:
            at = 0
            for line in file.read().splitlines(keepends=True):
                if redactor.holds(line.decode("utf-8", "ignore")):
                    body = line.rstrip(b"\r\n")
                    file.seek(at)
                    file.write(b"[forgotten]"[: len(body)].ljust(len(body)))
                    count += 1
                at += len(line)
    return count


def still_in(home: Path, redactors: Sequence[Redactor], but: Iterable[str] = ()) -> list[str]:
    """The files of the home that still hold one of the texts, by their bytes; those named `but` are not read.

    For a process of its own: closing a database's file takes the locks from all connections of the process to it.
    """
    left_out = set(but)
    return [
        path.relative_to(home).as_posix()
        for path in _files(home)
        if path.name not in left_out and path.suffix not in _PACKED and _holds(path, redactors)
    ]


def packed(home: Path) -> list[str]:
    """Exports and backups in the home: what they hold is not looked into."""
    return [path.relative_to(home).as_posix() for path in _files(home) if path.suffix in _PACKED]


def _files(home: Path) -> Generator[Path]:
    for path in sorted(home.rglob("*")):
        if path.is_file() and path.relative_to(home).parts[0] not in _SKIPPED:
            yield path


def _holds(path: Path, redactors: Sequence[Redactor]) -> bool:
    before = b""
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                text = (before + chunk).decode("utf-8", "ignore")
                if any(redactor.holds(text) for redactor in redactors):
                    return True
                before = chunk[-_OVERLAP:]
    except FileNotFoundError:
        return False  # a journal that was folded into its database meanwhile
    return False
