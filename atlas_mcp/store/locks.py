"""Locks by name: one owner at a time, among the tasks of this process and among all processes that could meet.

Promise: a lock is held by at most one task anywhere; tasks of one process get it in the order they asked, and processes
that wait take turns with the owner's own queue, so that nobody starves. A lock is freed when its process ends, also by
kill -9, and kept while the process is only frozen. Waiting can be cancelled at any moment and leaves nothing behind.
Not re-entrant: a task that asks for a lock it holds waits for ever (or for `wait_seconds`).

Two means there are: files, for the processes of one machine, and PostgreSQL, for those of all that share the record.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, Self

import anyio

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.store.file_locks import FileLocks

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable
    from contextlib import AbstractContextManager
    from types import TracebackType

_FIRST_PAUSE = 0.001
_PATIENCE = 12.0
"""How long one who waits for a lock waits for the means to come back, in seconds."""


class Held(Protocol):
    """A lock that is held until `release` or the end of the process. Releasing twice is harmless."""

    def release(self) -> None:
        """Free the lock."""
        ...

    def kept(self) -> AbstractContextManager[None]:
        """The time in which it is relied on; LockLost out of it, whatever it waits for, when the lock is lost."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Means(Protocol):
    """How locks are taken and seen: at once, without waiting for any owner."""

    longest_pause: float
    """How long one who waits pauses at most before asking again, in seconds."""
    probe_pause: float
    """How long somebody who only looks may keep a lock from one who wants it, in seconds."""

    def take(self, name: str, *, gate: str | None = None) -> Held | None:
        """The lock if it is free, and nobody stands at the gate."""
        ...

    def held_among(self, names: Iterable[str]) -> set[str]:
        """Those that anybody holds."""
        ...

    def any_beginning(self, prefix: str) -> bool:
        """Whether anybody holds one that begins so."""
        ...


class _Queue:
    """Those in this process who want one lock, first come, first served."""

    def __init__(self) -> None:
        # A semaphore, not a Lock: a generator may be closed by another task than the one that opened it.
        self.turn = anyio.Semaphore(1, max_value=1, fast_acquire=True)
        self.wanted = 0


class Locks:
    """Locks by those means: a folder of files, made if need be, or a PostgreSQL.

    Two on one folder or database, in any process, exclude each other. Each method raises StoreUnavailable while a
    PostgreSQL is gone; `hold` waits for it some seconds.
    """

    def __init__(self, means: Path | Means) -> None:
        self._means: Means = FileLocks(means) if isinstance(means, Path) else means
        self._queues: dict[str, _Queue] = {}

    @asynccontextmanager
    async def hold(self, name: str, *, wait_seconds: float | None = None) -> AsyncGenerator[None]:
        """Hold the lock while the body runs. Any string is a name. LockTimeout after `wait_seconds`; None waits on.

        LockLost, by cancelling the body, when it cannot be sure any more that the lock is ours.
        """
        queue = self._queues.setdefault(name, _Queue())
        queue.wanted += 1
        try:
            held = await self._acquire(name, queue, wait_seconds)
            try:
                with held.kept():
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
        if (held := self._means.take(name)) is None and (pause := self._means.probe_pause):
            time.sleep(pause)
            held = self._means.take(name)
        return held

    def is_held(self, name: str) -> bool:
        """Whether anybody holds the lock, this process included; true also for one who is just taking it."""
        return bool(self._means.held_among([name]))

    def held_among(self, names: Iterable[str]) -> set[str]:
        """Those of the names whose lock is held by anybody. Many cost little more than one."""
        return self._means.held_among(names)

    def any_beginning(self, prefix: str) -> bool:
        """Whether anybody holds a lock whose name is that beginning, which ends in `-`, and a word without `-`.

        Of small letters, digits, `.` and `_` both.
        """
        return self._means.any_beginning(prefix)

    async def _acquire(self, name: str, queue: _Queue, wait_seconds: float | None) -> Held:
        with anyio.move_on_after(wait_seconds):
            await queue.turn.acquire()
            try:
                return await self._acquire_there(name)
            except BaseException:
                queue.turn.release()
                raise
        raise LockTimeout(
            f"waited {wait_seconds:g} s for {name!r}, which is still busy.", next_step="Try again in a moment."
        )

    async def _acquire_there(self, name: str) -> Held:
        """Who must wait for another process stands at a gate, and nobody passes a gate at which another stands."""
        gate = f"{name}\0gate"
        try:
            held = self._means.take(name, gate=gate)
        except StoreUnavailable:
            held = None
        if held is not None:
            return held
        with await self._wait_for(gate):
            return await self._wait_for(name)

    async def _wait_for(self, name: str) -> Held:
        pause, gone_since = _FIRST_PAUSE, None
        while True:
            try:
                if (held := self._means.take(name)) is not None:
                    return held
                gone_since = None
            except StoreUnavailable:
                gone_since = gone_since or anyio.current_time()
                if anyio.current_time() > gone_since + _PATIENCE:
                    raise
            await anyio.sleep(pause)
            pause = min(pause * 2, self._means.longest_pause)
