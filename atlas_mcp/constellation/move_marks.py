"""What is written down of a constellation's move before anything is done, so that nobody need remember it.

Promise: a mark is there whole or not at all. While it is there the move is unfinished: whoever finds it finishes it.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import uuid
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import AwareDatetime, Field, ValidationError

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.caller import Caller

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.store.locks import Locks

_MARK = "mark.json"
log = logging.getLogger(__name__)


class Old(Frozen):
    """What the move leaves behind on one Letta, by its ids."""

    server: str
    agents: tuple[str, ...]
    blocks: tuple[str, ...]
    groups: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


class Mark(Frozen):
    """One move: to `target`, done once the record says that the constellation is there as of `at`.

    `files` are the paths that the files of the mark's folder go to when it is done.
    """

    id: str
    caller: Caller
    target: str
    at: AwareDatetime
    old: tuple[Old, ...] = ()
    files: dict[str, Path] = Field(default_factory=dict)

    @property
    def servers(self) -> tuple[str, ...]:
        """The Lettas on which the move leaves something behind."""
        return tuple(old.server for old in self.old)

    @property
    def tag(self) -> str:
        """What is planted for this move carries this tag until it is done."""
        return f"atlas-move:{self.id}"


def new_mark(caller: Caller, target: str, old: tuple[Old, ...], files: Mapping[Path, bytes]) -> Mark:
    """A move of its own, as of now; `files` are to be written once it is done."""
    names = {str(number): path for number, path in enumerate(files)}
    return Mark(id=uuid.uuid4().hex, caller=caller, target=target, at=datetime.now(UTC), old=old, files=names)


def write_mark(folder: Path, mark: Mark, files: Mapping[Path, bytes]) -> None:
    """Write the mark down, with the files it will need."""
    draft = folder / f".{mark.id}"
    draft.mkdir(mode=0o700, parents=True)
    for name, path in mark.files.items():
        _write(draft / name, files[path])
    _write(draft / _MARK, mark.model_dump_json().encode())
    draft.replace(folder / mark.id)


def has_marks(folder: Path) -> bool:
    """Whether a move of the home is unfinished."""
    return folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir())


def read_marks(folder: Path) -> list[Mark]:
    """Every unfinished move of the home, oldest first."""
    if not folder.is_dir():
        return []
    found: list[Mark] = []
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        try:
            found.append(Mark.model_validate_json((path / _MARK).read_bytes()))
        except FileNotFoundError:
            continue  # another process has just finished it
        except ValidationError as error:  # a newer ATLAS wrote it, say, and will finish it
            log.warning("%s is left as it is: %s", path, error)
    return sorted(found, key=lambda mark: mark.at)


def has_mark(folder: Path, mark: Mark) -> bool:
    """Whether this move is still unfinished."""
    return (folder / mark.id).is_dir()


def bring_files(folder: Path, mark: Mark) -> None:
    """Put the mark's files where they go; those that are there already have been put."""
    for name, path in mark.files.items():
        staged = folder / mark.id / name
        if staged.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.{mark.id}")  # beside it: the folder may be on another file system
            draft.unlink(missing_ok=True)
            _write(draft, staged.read_bytes())
            draft.replace(path)
            staged.unlink()


def bring_done(folder: Path, record: Path, locks: Locks) -> None:
    """Put the files of moves that were done and then killed where they go: before anything reads them at a start.

    The record is looked at without opening it; what does not read is left to whoever opens it.
    """
    marks = [mark for mark in read_marks(folder) if mark.files]
    if not marks:
        return
    from atlas_mcp.letta.placement import moving_lock  # loads the database, which a start hardly ever needs

    for mark in marks:
        held = locks.try_hold(moving_lock(mark.caller.id))
        if held is not None:
            with held:
                if _is_done(record, mark):
                    bring_files(folder, mark)


def _is_done(record: Path, mark: Mark) -> bool:
    try:
        with closing(sqlite3.connect(f"{record.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)) as connection:
            query = "SELECT at FROM placement WHERE caller = ?"
            row = connection.execute(query, (mark.caller.id,)).fetchone()
    except sqlite3.Error:
        return False
    return row is not None and datetime.fromisoformat(row[0]).replace(tzinfo=UTC) == mark.at


def drop_mark(folder: Path, mark: Mark) -> None:
    """The move is over."""
    gone = folder / mark.id
    if gone.exists():
        gone = gone.replace(folder / f".{mark.id}")  # in one step, so that no half of a mark is ever found
        shutil.rmtree(gone, ignore_errors=True)


def _write(path: Path, content: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
