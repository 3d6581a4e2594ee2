"""A home as a backup has it: all of it or nothing, and what was there is kept aside.

Promise: nothing is touched while a server has the home open, nor for a file that is not whole, of a newer ATLAS, or
none. What was there is moved, never deleted. What its record had forgotten is not brought back into the record. Killed
at any moment, the home is either as it was, or the next to open it finishes what was begun. What is fed from the record
is made anew.
"""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import time
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError, IllegalChange, InvalidInput, LockTimeout
from atlas_mcp.store._schema import REVISIONS, known_revision
from atlas_mcp.store.backup import unpacked
from atlas_mcp.store.home import OPEN, RESTORE_PLAN, RESTORING
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from atlas_mcp.store.backup import Backup
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.locks import Held

_BESIDE = ("-wal", "-shm", "-journal")
_FED = ("chroma",)
"""Folders of the home that are made from the record."""
_KEPT = "settings.toml"
"""What is taken from a backup only where there is none: the one that is there has the keys."""
_ITEMS = {"passage": "source", "memory": "id", "memory_revision": "memory", "document": "id", "fact": "id"}
"""Where the record has things that can be forgotten, and by what name."""
_WAIT_SECONDS = 60.0


def restore(home: Home, file: Path) -> tuple[Backup, Path | None]:
    """Put the home as the backup has it; what the backup says of itself, and the folder of what was there. Blocks.

    InvalidInput where there is no such file, BrokenPackage for one that is no whole backup, NewerRecord for one of a
    newer ATLAS, IllegalChange while a server has the home open, LockTimeout while another restores.
    """
    if not file.is_file():
        raise InvalidInput(f"there is no file {file}.", argument="FILE", next_step="Name one that `backup` wrote.")
    locks = Locks(home.locks)
    with _alone(locks, home):
        staged = (home.path / RESTORE_PLAN).parent
        shutil.rmtree(staged, ignore_errors=True)  # of a restore that was killed before it had decided anything
        about = unpacked(file, staged)
        record = staged / home.record.name
        if record.exists():
            known_revision(record)
            _forget_the_fed(record)
            _stay_forgotten(record, home.record)
        aside = f"before-restore-{datetime.now(UTC):%Y%m%d-%H%M%S-%f}"
        names = [part.name for part in about.parts if part.name != _KEPT or not (home.path / _KEPT).exists()]
        _decide(staged, {"aside": aside, "names": names, "databases": [path.name for path in home.databases]})
        _finish(home.path)
    kept = home.path / aside
    return about, kept if kept.exists() else None


def finish_restore(home: Path, locks: Path) -> None:
    """Finish what a process that was killed had decided."""
    deadline = time.monotonic() + _WAIT_SECONDS
    while (held := Locks(locks).try_hold(RESTORING)) is None:
        if time.monotonic() > deadline:
            raise LockTimeout(f"waited {_WAIT_SECONDS:g} s for a restore of {home}.", next_step="Try again later.")
        time.sleep(0.02)
    with held:
        _finish(home)


def _alone(locks: Locks, home: Home) -> Held:
    held = locks.try_hold(RESTORING)
    if held is None:
        raise LockTimeout(f"another process restores into {home.path}.", next_step="Wait for it.")
    try:
        if locks.any_beginning(OPEN) or any(_is_open(path) for path in home.databases):
            step = "Stop every atlas-mcp on it first, also those that hosts started. Nothing was changed."
            raise IllegalChange(f"a server has {home.path} open.", next_step=step)
    except BaseException:
        held.release()
        raise
    return held


def _is_open(path: Path) -> bool:
    """Whether any process has the database open. It is one file afterwards, without a log beside it."""
    if not path.exists():
        return False
    try:
        with closing(sqlite3.connect(path, timeout=0.2)) as database:
            database.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.DatabaseError as error:  # a damaged one is moved aside like any other
        return getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_BUSY
    return False


def _forget_the_fed(record: Path) -> None:
    """Have the stores that are fed from the record made anew: what they have is of another time."""
    with closing(sqlite3.connect(record)) as database:
        if database.execute("SELECT 1 FROM sqlite_master WHERE name = 'derived'").fetchone():
            database.execute("DELETE FROM derived WHERE name NOT LIKE 'embedder%'")
            database.commit()


def _stay_forgotten(record: Path, before: Path) -> None:
    """Delete from the record what was forgotten since, if the one that is there can be read and is of this ATLAS."""
    with suppress(sqlite3.DatabaseError, AtlasError):
        if not {known_revision(record), known_revision(before)} <= {REVISIONS[-1]}:
            return
        with closing(sqlite3.connect(record, isolation_level=None)) as database:
            database.execute("ATTACH ? AS was", (f"{before.absolute()}",))
            database.execute("BEGIN")
            database.execute("INSERT OR IGNORE INTO forgotten SELECT * FROM was.forgotten")
            for table, item in _ITEMS.items():
                gone = f"f.caller = {table}.caller AND f.item = {table}.{item}"
                query = f"DELETE FROM {table} WHERE EXISTS (SELECT 1 FROM forgotten f WHERE {gone})"  # noqa: S608 - our own names
                database.execute(query)
            database.execute("COMMIT")


def _decide(staged: Path, plan: dict[str, object]) -> None:
    draft = staged / "draft"
    with draft.open("x", encoding="utf-8") as file:
        json.dump(plan, file)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(staged / RESTORE_PLAN.name)


def _finish(home: Path) -> None:
    staged = (home / RESTORE_PLAN).parent
    try:
        plan = json.loads((home / RESTORE_PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return  # another process has finished it
    aside = home / plan["aside"]
    for name in (*_FED, *plan["databases"], *plan["names"]):
        new = staged / name
        if name in plan["names"] and not new.exists():
            continue  # it is in its place
        for old in (*(f"{name}{end}" for end in _BESIDE if name.endswith(".db")), name):  # a log without its database
            if (home / old).exists() and not (aside / old).exists():  # would be taken for the new one's
                aside.mkdir(mode=0o700, exist_ok=True)
                (home / old).rename(aside / old)
        if new.exists():
            new.replace(home / name)
    (home / RESTORE_PLAN).unlink()
    shutil.rmtree(staged, ignore_errors=True)
