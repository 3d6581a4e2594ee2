"""Files below a folder that strangers name: reached name by name from the open folder, never through a link.

Promise: what is opened lies below the folder, whatever is moved or linked there at the same moment, and is a regular
file; nothing else is even opened, for to open a device or a pipe may do something. Windows has no means to go on from
an open folder: there every name is looked at before and after, which leaves an attacker on the same machine an instant.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Literal

from atlas_mcp.store._platform import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence
    from pathlib import Path

_REPARSE_POINT = 0x400


@dataclass(frozen=True)
class FolderEntry:
    """One name in a folder: what it is, and of a file how long, when it was changed, and how many names it has."""

    name: str
    kind: Literal["file", "folder", "link", "other"]
    size: int = 0
    changed: float = 0.0
    links: int = 1


def open_below(folder: Path, parts: Sequence[str], barred: Path | None = None) -> int:
    """A descriptor, for reading, of the regular file that these names lead to from the folder on.

    Each name must be one of a real folder, the last one of a regular file: a link, a device, a pipe or a socket is
    OSError, also when it is put there meanwhile; so is what lies in `barred`. Only the folder itself may be a link.
    """
    if WINDOWS:
        return _open_checked(folder, parts, barred)
    *above, name = parts
    with _opened_folder(folder, above, barred) as fd:
        found = os.stat(name, dir_fd=fd, follow_symlinks=False)
        _check_kind(found, stat.S_ISREG)
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=fd)
    try:
        _check_kind(os.fstat(file), stat.S_ISREG)
    except BaseException:
        os.close(file)
        raise
    return file


def list_below(folder: Path, parts: Sequence[str], most: int, barred: Path | None = None) -> list[FolderEntry]:
    """What is in the folder that these names lead to, `most` names of it, in no order; see `open_below`."""
    if WINDOWS:
        place = _checked_path(folder, parts, barred, stat.S_ISDIR)
        with os.scandir(place) as found:
            return [_entry(one.name, one.stat(follow_symlinks=False)) for one in islice(found, most)]
    with _opened_folder(folder, parts, barred) as fd:
        with os.scandir(fd) as found:
            names = [one.name for one in islice(found, most)]
        entries: list[FolderEntry] = []
        for name in names:
            with suppress(FileNotFoundError):  # it went away meanwhile
                entries.append(_entry(name, os.stat(name, dir_fd=fd, follow_symlinks=False)))
        return entries


@contextmanager
def _opened_folder(folder: Path, parts: Sequence[str], barred: Path | None) -> Generator[int]:
    _check_outside(folder, barred)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _check_not(os.fstat(fd), barred)
        for part in parts:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=fd)
            os.close(fd)
            fd = below
            _check_not(os.fstat(fd), barred)
        yield fd
    finally:
        os.close(fd)


def _open_checked(folder: Path, parts: Sequence[str], barred: Path | None) -> int:
    place = _checked_path(folder, parts, barred, stat.S_ISREG)
    file = os.open(place, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        again = _checked_path(folder, parts, barred, stat.S_ISREG).lstat()
        if not os.path.samestat(os.fstat(file), again):
            raise OSError(errno.ELOOP, "it was replaced meanwhile")
    except BaseException:
        os.close(file)
        raise
    return file


def _checked_path(folder: Path, parts: Sequence[str], barred: Path | None, kind: Callable[[int], bool]) -> Path:
    _check_outside(folder, barred)
    place = folder.resolve()
    _check_not(place.stat(), barred)
    for number, part in enumerate(parts, 1):
        place = place / part
        found = place.lstat()
        _check_kind(found, kind if number == len(parts) else stat.S_ISDIR)
        _check_not(found, barred)
    return place


def _check_kind(found: os.stat_result, kind: Callable[[int], bool]) -> None:
    if stat.S_ISLNK(found.st_mode) or getattr(found, "st_file_attributes", 0) & _REPARSE_POINT:
        raise OSError(errno.ELOOP, "it is a link")
    if kind is stat.S_ISREG and stat.S_ISDIR(found.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if not kind(found.st_mode):
        raise OSError(errno.EINVAL, "it is neither a file nor a folder")


def _check_outside(folder: Path, barred: Path | None) -> None:
    if barred is not None and folder.resolve().is_relative_to(barred.resolve()):
        raise PermissionError(errno.EACCES, "it is closed")


def _check_not(found: os.stat_result, barred: Path | None) -> None:
    if barred is None or not barred.exists():
        return
    if os.path.samestat(found, barred.stat()):
        raise PermissionError(errno.EACCES, "it is closed")


def _entry(name: str, found: os.stat_result) -> FolderEntry:
    if stat.S_ISLNK(found.st_mode) or getattr(found, "st_file_attributes", 0) & _REPARSE_POINT:
        return FolderEntry(name, "link")
    if stat.S_ISDIR(found.st_mode):
        return FolderEntry(name, "folder")
    if not stat.S_ISREG(found.st_mode):
        return FolderEntry(name, "other")
    return FolderEntry(name, "file", found.st_size, found.st_mtime, found.st_nlink)
