"""A home in one file: the databases as they were at one moment, while servers go on writing, and what belongs to them.

Promise: the file is there whole or not at all, and what it holds was read again and checked before it got its name. All
its databases are of one moment: no change is in one and missing in another. Writers wait for that moment only, not for
the copying. No key is in it but what the user wrote into his file of other MCP servers; it holds all else that is
remembered, and is closed to other users.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
import tempfile
import zipfile
import zlib
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from atlas_mcp.errors import BrokenPackage, BrokenStore, InvalidInput, LockTimeout, StoreUnavailable
from atlas_mcp.model._base import Frozen
from atlas_mcp.store._schema import known_revision
from atlas_mcp.store.files import damage_told

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from atlas_mcp.store.home import Home

FORMAT = 1
ABOUT = "backup.json"
TEXTS = ("id", "roster.toml", "settings.toml", "mcp_servers.json")
BUSY_SECONDS = 30
_CHUNK = 1 << 20


class Part(Frozen):
    """One file in a backup."""

    name: str
    bytes: int
    sha256: str


class Backup(Frozen):
    """What a backup says of itself. `revision` is that of the record's schema."""

    format: int
    version: str
    made_at: datetime
    revision: str
    parts: tuple[Part, ...]

    @property
    def has_servers(self) -> bool:
        """Whether it has the user's file of other MCP servers, with the keys that he wrote into it."""
        return any(part.name == "mcp_servers.json" for part in self.parts)


def back_up(home: Home, file: Path, *, version: str, settings: str) -> Backup:
    """Write the home to that file; `settings` is its settings file as it may be shown. Blocks.

    InvalidInput for a place that cannot be written, BrokenStore for a database that is damaged, LockTimeout when
    another process keeps one to itself for BUSY_SECONDS, StoreUnavailable where there is no room.
    """
    if not file.parent.is_dir():
        raise InvalidInput(f"there is no folder {file.parent}.", argument="FILE", next_step="Make it, or name another.")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{file.name}.", dir=file.parent) as work:
            return _written(home, Path(work), file, version, settings)
    except OSError as error:
        step = "Nothing was written. Make room, or name another place."
        raise StoreUnavailable(f"{file} cannot be written: {error.strerror or error}.", next_step=step) from error


def _written(home: Home, work: Path, file: Path, version: str, settings: str) -> Backup:
    names = copied([path for path in home.databases if path.exists() and path.stat().st_size], work)
    texts = {"id": f"{home.local_id}\n", "settings.toml": settings}
    for name, text in texts.items():
        if text:
            (work / name).write_text(text, encoding="utf-8")
            names.append(name)
    for path in (home.roster, home.servers):
        if path.exists():
            shutil.copyfile(path, work / path.name)
            names.append(path.name)
    about = Backup(
        format=FORMAT,
        version=version,
        made_at=datetime.now(UTC),
        revision=known_revision(work / home.record.name) or "",
        parts=tuple(part_of(work / name) for name in names),
    )
    made = work / "backup"
    with made.open("xb") as raw:
        made.chmod(0o600)
        with zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as package:
            package.writestr(ABOUT, about.model_dump_json(indent=1))
            for name in names:
                package.write(work / name, name)
        raw.flush()
        os.fsync(raw.fileno())
    unpacked(made, work / "check")
    made.replace(file)
    return about


def copied(databases: Sequence[Path], into: Path) -> list[str]:
    """Copy the databases as they are at one moment, each checked; their names."""
    with _one_moment(databases) as readers:
        for path, reader in readers.items():
            with damage_told(path), closing(sqlite3.connect(into / path.name)) as copy:
                reader.backup(copy)
                copy.execute("PRAGMA journal_mode=DELETE")  # all of it in one file
            check_database(into / path.name, shown=path)
    return [path.name for path in databases]


@contextmanager
def _one_moment(databases: Sequence[Path]) -> Generator[Mapping[Path, sqlite3.Connection]]:
    """Readers that all see the same moment: taken while nobody writes any of them."""
    with ExitStack() as stack:
        readers: dict[Path, sqlite3.Connection] = {}
        with ExitStack() as doors:
            for path in databases:
                with damage_told(path), _busy_told(path):
                    _connect(doors, path).execute("BEGIN IMMEDIATE")
            for path in databases:
                with damage_told(path):
                    reader = readers[path] = _connect(stack, path)
                    reader.execute("BEGIN")
                    reader.execute("SELECT count(*) FROM sqlite_master").fetchone()  # the snapshot begins here
        yield readers


def _connect(stack: ExitStack, path: Path) -> sqlite3.Connection:
    return stack.enter_context(closing(sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS)))


@contextmanager
def _busy_told(path: Path) -> Generator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
            raise
        step = "Nothing was written. Try again in a moment."
        raise LockTimeout(f"another process keeps {path} to itself.", next_step=step) from error


def check_database(path: Path, *, shown: Path) -> None:
    """BrokenStore, of `shown`, if the database is damaged."""
    with damage_told(shown), closing(sqlite3.connect(path)) as database:
        said = [row[0] for row in database.execute("PRAGMA integrity_check(3)")]
    if said != ["ok"]:
        raise BrokenStore(str(shown), "; ".join(said))


def part_of(path: Path) -> Part:
    """The file as a backup names it."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_CHUNK):
            digest.update(piece)
    return Part(name=path.name, bytes=path.stat().st_size, sha256=digest.hexdigest())


def unpacked(file: Path, into: Path) -> Backup:
    """Unpack a backup into a new folder, all of it read and checked. BrokenPackage for one that is not whole."""
    into.mkdir(mode=0o700)
    try:
        with zipfile.ZipFile(file) as package:
            about = Backup.model_validate_json(package.read(ABOUT))
            if about.format != FORMAT:
                raise BrokenPackage(str(file), f"it has format {about.format}", next_step="Update ATLAS.")
            for part in about.parts:
                if not _is_ours(part.name):
                    raise BrokenPackage(str(file), "no backup has such a part", entry=part.name)
                with package.open(part.name) as source, (into / part.name).open("xb") as sink:
                    (into / part.name).chmod(0o600)
                    shutil.copyfileobj(source, sink, _CHUNK)
                    sink.flush()
                    os.fsync(sink.fileno())
                if part_of(into / part.name) != part:
                    raise BrokenPackage(str(file), "it is not what was written", entry=part.name)
                if part.name.endswith(".db"):
                    check_database(into / part.name, shown=file)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, KeyError, EOFError, ValidationError) as bad:
        reason = "it is no backup of ATLAS, or not whole"
        raise BrokenPackage(str(file), reason, next_step="Take another copy of it.") from bad
    return about


def _is_ours(name: str) -> bool:
    return name in TEXTS or (name.endswith(".db") and name.removesuffix(".db").isalnum())
