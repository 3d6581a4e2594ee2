"""Locks by name: one owner at a time, among the tasks of this process and among all processes of this machine.

Promise: a lock is held by at most one task anywhere; tasks of one process get it in the order they asked, and processes
that wait take turns with the owner's own queue, so that nobody starves. The system frees a lock when its process ends,
also by kill -9, and keeps it while the process is only frozen. Waiting can be cancelled at any moment and leaves
nothing behind. Not re-entrant: a task that asks for a lock it holds waits for ever (or for `wait_seconds`).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import anyio

from atlas_mcp.errors import LockTimeout
from atlas_mcp.store import _platform

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from pathlib import Path
    from types import TracebackType

_PLAIN = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FIRST_PAUSE = 0.001
_LONGEST_PAUSE = 0.025
_PROBE_PAUSE = 0.001


class Held:
    """A lock that is held until `release` or the end of the process. Releasing twice is harmless."""

    def __init__(self, fd: int, path: Path) -> None:
        self._fd: int | None = fd
        self._path = path

    def release(self) -> None:
        """Free the lock."""
        fd, self._fd = self._fd, None
        if fd is not None:
            _platform.unlock_file(fd, self._path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Queue:
    """Those in this process who want one lock, first come, first served."""

    def __init__(self) -> None:
        # A semaphore, not a Lock: a generator may be closed by another task than the one that opened it.
        self.turn = anyio.Semaphore(1, max_value=1, fast_acquire=True)
        self.wanted = 0


class Locks:
    """The locks whose files lie in `folder`, made if need be. Two on one folder, in any process, exclude each other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder = folder
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def hold(self, name: str, *, wait_seconds: float | None = None) -> AsyncGenerator[None]:
        """Hold the lock while the body runs. Any string is a name. LockTimeout after `wait_seconds`; None waits on."""
        queue = self._queues.setdefault(name, _Queue())
        queue.wanted += 1
        try:
            held = await self._acquire(name, queue, wait_seconds)
            try:
                yield
            finally:
                held.release()
                queue.turn.release()
        finally:
            queue.wanted -= 1
            if not queue.wanted:
                del self._queues[name]

    def try_hold(self, name: str) -> Held | None:
        """The lock if it is free at this moment, else None; never waits for its owner."""
        path = self._path(name)
        fd = _platform.lock_file(path)
        if fd is None:
            # Another process may only have been looking (`is_held`), which takes some microseconds.
            time.sleep(_PROBE_PAUSE)
            fd = _platform.lock_file(path)
        return Held(fd, path) if fd is not None else None

    def is_held(self, name: str) -> bool:
        """Whether anybody holds the lock, this process included; true also for one who is just taking it."""
        try:
            fd = _platform.lock_file(self._path(name), create=False, shared=True)
        except FileNotFoundError:
            return False
        if fd is None:
            return True
        _platform.release_probe(fd)
        return False

    def held_among(self, names: Iterable[str]) -> set[str]:
        """Those of the names whose lock is held by anybody. Many cost little: a lock that is free has no file."""
        there = {entry.name for entry in os.scandir(self._folder)}
        return {name for name in names if _file_of(name) in there and self.is_held(name)}

    def held_beginning(self, prefix: str) -> set[str]:
        """The names that begin so and whose lock is held by anybody; names of small letters, digits, `.`, `_`, `-`."""
        if not _PLAIN.fullmatch(prefix):
            raise ValueError(f"no beginning of plain names: {prefix!r}")
        there = [entry.name for entry in os.scandir(self._folder) if entry.name.startswith(f"l-{prefix}")]
        names = {name.removeprefix("l-").removesuffix(".lock") for name in there if name.endswith(".lock")}
        return {name for name in names if self.is_held(name)}

    async def _acquire(self, name: str, queue: _Queue, wait_seconds: float | None) -> Held:
        with anyio.move_on_after(wait_seconds):
            await queue.turn.acquire()
            try:
                return await self._acquire_file(name)
            except BaseException:
                queue.turn.release()
                raise
        raise LockTimeout(
            f"waited {wait_seconds:g} s for {name!r}, which is still busy.", next_step="Try again in a moment."
        )

    async def _acquire_file(self, name: str) -> Held:
        """The file lock. Who must wait for it stands at a gate, and nobody passes a gate at which another stands."""
        path = self._path(name)
        gate = path.with_suffix(".gate")
        if not gate.exists():
            fd = _platform.lock_file(path)
            if fd is not None:
                return Held(fd, path)
        with await _wait_for(gate):
            return await _wait_for(path)

    def _path(self, name: str) -> Path:
        return self._folder / _file_of(name)


async def _wait_for(path: Path) -> Held:
    pause = _FIRST_PAUSE
    while (fd := _platform.lock_file(path)) is None:
        await anyio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)
    return Held(fd, path)


def _file_of(name: str) -> str:
    # Names that a file system could mistake for each other (case, length, separators) go by their hash.
    plain = name if _PLAIN.fullmatch(name) else hashlib.sha256(name.encode()).hexdigest()
    return f"l-{plain}.lock"
