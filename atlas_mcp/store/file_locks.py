"""Locks as files in a folder, by the operating system, among the processes of one machine.

The system frees a lock when its process ends in whatever way, and keeps it while the process is only frozen. A lock
that is free has no file.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import nullcontext
from typing import TYPE_CHECKING, Self

from atlas_mcp.store import _platform

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FOR_EVER: AbstractContextManager[None] = nullcontext()


class FileHeld:
    """A lock that is held until `release` or the end of the process."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd: int | None = fd
        self._path = path

    def release(self) -> None:
        """Free the lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            _platform.unlock_file(fd, self._path)

    def kept(self) -> AbstractContextManager[None]:
        """No file lock is ever lost."""
        return _FOR_EVER

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class FileLocks:
    """The locks whose files lie in `folder`; the `Means` of `Locks` for one machine."""

    longest_pause = 0.025
    probe_pause = 0.001

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder

    def take(self, name: str, *, gate: str | None = None) -> FileHeld | None:
        """The lock if it is free, and nobody stands at the gate."""
        if gate is not None and self._path(gate).exists():
            return None
        path = self._path(name)
        fd = _platform.lock_file(path)
        return FileHeld(fd, path) if fd is not None else None

    def held_among(self, names: Iterable[str]) -> set[str]:
        """Those that anybody holds, this process included."""
        wanted = list(names)
        there = {entry.name for entry in os.scandir(self._folder)} if len(wanted) > 1 else None
        return {name for name in wanted if (there is None or _file_of(name) in there) and self._is_held(name)}

    def any_beginning(self, prefix: str) -> bool:
        """Whether anybody holds a lock of a plain name that begins so."""
        if not _PLAIN.fullmatch(prefix):
            raise ValueError(f"no beginning of plain names: {prefix!r}")
        there = [entry.name for entry in os.scandir(self._folder) if entry.name.startswith(f"l-{prefix}")]
        return any(self._is_held(name.removeprefix("l-").removesuffix(".lock")) for name in there)

    def _is_held(self, name: str) -> bool:
        try:
            fd = _platform.lock_file(self._path(name), create=False, shared=True)
        except FileNotFoundError:
            return False
        if fd is None:
            return True
        _platform.release_probe(fd)
        return False

    def _path(self, name: str) -> Path:
        return self._folder / _file_of(name)


def _file_of(name: str) -> str:
    # Names that a file system could mistake for each other (case, length, separators) go by their hash.
    plain = name if _PLAIN.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()
    return f"l-{plain}.lock"
