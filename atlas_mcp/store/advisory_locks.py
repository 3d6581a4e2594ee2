"""Locks among all machines that share a PostgreSQL: advisory locks of one session, which ends with this process.

The server frees them when the connection ends, at once when the process does, and some ten seconds after its machine is
gone; a frozen process keeps them. When the connection breaks while we live, it is made anew, and what we held is taken
again before anybody here takes anything new. What was had by somebody else meanwhile is lost, and so is everything when
nothing was heard from the server for LOST_AFTER seconds, which is sooner than it frees it: `Held.kept` then ends with
LockLost. A server that says itself that it is down, or just starting, gives our locks to nobody: they are kept.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, Self

import anyio
import anyio.to_thread

from atlas_mcp.errors import ConfigurationError, LockLost, StoreUnavailable
from atlas_mcp.store.line import BrokenLine, Line

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Iterable, Sequence
    from types import TracebackType

    from atlas_mcp.store.postgres import Postgres

LOST_AFTER = 6.0
_BEAT_SECONDS = 1.0
_AGAIN_SECONDS = 0.1
_FIRST_FOR_OWNERS = 1.0
"""For so long after the server's start nothing new is taken, so that who held it before takes it again."""

_DOWN = ("Connection refused", "starting up", "shutting down", "not yet accepting connections")

Key = tuple[int, int]


class AdvisoryHeld:
    """A lock that is held until `release`, the end of the process, or until it is lost."""

    def __init__(self, locks: AdvisoryLocks, name: str) -> None:
        self._locks = locks
        self.name = name
        self.lost = False
        self._relied_on: anyio.CancelScope | None = None

    def release(self) -> None:
        """Free the lock."""
        self._locks.release(self)

    @property
    def is_relied_on(self) -> bool:
        """Whether a body runs that must stop when it is lost."""
        return self._relied_on is not None

    def lose(self) -> None:
        """It may be somebody else's now."""
        self.lost = True
        if self._relied_on is not None:
            self._relied_on.cancel()

    @contextmanager
    def kept(self) -> Generator[None]:
        """The time in which it is relied on."""
        with anyio.CancelScope() as self._relied_on:
            if self.lost:
                self._relied_on.cancel()
            yield
        if self._relied_on.cancelled_caught:
            raise LockLost(
                f"the connection to PostgreSQL that held {self.name!r} broke.", next_step="Try again in a moment."
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class AdvisoryLocks:
    """The `Means` of `Locks` for those who share a PostgreSQL; usable while `opened` runs."""

    longest_pause = 0.1
    probe_pause = 0.0

    def __init__(self, database: Postgres) -> None:
        self._database = database
        self._line: Line | None = None
        self._held: dict[str, AdvisoryHeld] = {}
        self._heard = 0.0
        self._not_before = 0.0
        self._database_oid = "0"

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Self]:
        """Connected, and connected again whenever that breaks. Raises as `Postgres.connect` when it cannot be."""
        await self._connect()
        await anyio.sleep(max(0.0, self._not_before - time.monotonic()))  # for a server that has just started
        failure: Exception | None = None
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._watch)
            try:
                yield self
            except Exception as error:  # noqa: BLE001 - raised again below: a task group would wrap it in a group
                failure = error
            finally:
                tasks.cancel_scope.cancel()
                self._hang_up()
        if failure is not None:
            raise failure

    def take(self, name: str, *, gate: str | None = None) -> AdvisoryHeld | None:
        """The lock if it is free, and nobody stands at the gate. StoreUnavailable while there is no connection."""
        if name in self._held or (gate is not None and gate in self._held):
            return None  # PostgreSQL gives a session the same lock twice
        self._check_ready()
        taking = f"pg_try_advisory_lock{_key(name)}"
        if gate is not None:
            taking = f"CASE WHEN EXISTS (SELECT 1 {self._seen([gate])}) THEN false ELSE {taking} END"
        if self._ask(f"SELECT {taking}") != [("t",)]:
            return None
        held = self._held[name] = AdvisoryHeld(self, name)
        return held

    def release(self, held: AdvisoryHeld) -> None:
        """Free it, unless it is free or lost."""
        if self._held.get(held.name) is not held:
            return
        del self._held[held.name]
        with suppress(StoreUnavailable):  # without a connection it is free
            self._ask(f"SELECT pg_advisory_unlock{_key(held.name)}")

    def held_among(self, names: Iterable[str]) -> set[str]:
        """Those that anybody holds. StoreUnavailable while there is no connection."""
        wanted = list(names)
        if not wanted:
            return set()
        self._check_ready()
        found = {(int(a or 0), int(b or 0)) for a, b in self._ask(f"SELECT classid, objid {self._seen(wanted)}")}
        return {name for name in wanted if _unsigned(_key(name)) in found}

    def any_beginning(self, prefix: str) -> bool:
        """Whether anybody holds a lock of that beginning, which ends in `-`, and a word."""
        if not prefix.endswith("-"):
            raise ValueError(f"no beginning of names: {prefix!r}")
        self._check_ready()
        first, _ = _unsigned(_key(prefix))
        return bool(self._ask(f"SELECT 1 {self._all_seen()} AND classid = {first} LIMIT 1"))

    def _seen(self, names: Sequence[str]) -> str:
        keys = ", ".join(str(_unsigned(_key(name))) for name in names)
        return f"{self._all_seen()} AND (classid::int8, objid::int8) IN ({keys})"

    def _all_seen(self) -> str:
        ours = f"locktype = 'advisory' AND objsubid = 2 AND granted AND database = {self._database_oid}"
        return f"FROM pg_locks WHERE {ours}"

    def _check_ready(self) -> None:
        if self._line is not None and time.monotonic() < self._not_before:
            raise StoreUnavailable(f"{self._database.shown} has only just started.", next_step="Try again in a moment.")

    def _ask(self, sql: str) -> list[tuple[str | None, ...]]:
        if self._line is None:
            raise StoreUnavailable(
                f"{self._database.shown} does not answer.", next_step="It is asked again all the time; try in a moment."
            )
        try:
            answer = self._line.ask(sql)
        except BrokenLine as error:
            self._line = None
            raise StoreUnavailable(
                f"{self._database.shown} does not answer: {error}.", next_step="Try again in a moment."
            ) from error
        self._heard = time.monotonic()
        return answer

    async def _watch(self) -> None:
        while True:
            with suppress(StoreUnavailable):
                self._ask("SELECT 1")
            while self._line is None:
                if time.monotonic() > self._heard + LOST_AFTER:
                    # A mark that nobody waits for stays to be taken again: who has seen it gone has acted on that.
                    self._lose([name for name, held in self._held.items() if held.is_relied_on])
                try:
                    await self._connect()
                except (StoreUnavailable, ConfigurationError) as error:
                    if _is_answer(error):
                        self._heard = time.monotonic()
                    await anyio.sleep(_AGAIN_SECONDS)
            await anyio.sleep(_BEAT_SECONDS)

    async def _connect(self) -> None:
        """Connect, and take again what we had."""
        line = await anyio.to_thread.run_sync(Line, self._database, abandon_on_cancel=True)
        try:
            about = line.ask(
                "SELECT (SELECT oid FROM pg_database WHERE datname = current_database()),"
                " extract(epoch FROM clock_timestamp() - pg_postmaster_start_time())"
            )
            names = list(self._held)
            again = (
                line.ask("SELECT " + ", ".join(f"pg_try_advisory_lock{_key(name)}" for name in names)) if names else []
            )
        except BrokenLine as error:
            raise StoreUnavailable(f"{self._database.shown} does not answer: {error}.") from error
        (oid, up) = about[0]
        self._database_oid, self._heard = oid or "0", time.monotonic()
        self._not_before = self._heard + max(0.0, _FIRST_FOR_OWNERS - float(up or 0))
        self._lose([name for name, given in zip(names, again[0] if again else (), strict=True) if given != "t"])
        self._line = line

    def _lose(self, names: Iterable[str]) -> None:
        for name in names:
            self._held.pop(name).lose()

    def _hang_up(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()


def _is_answer(error: Exception) -> bool:
    """Whether the server itself, or the machine it is not running on, has said this."""
    return isinstance(error, ConfigurationError) or any(word in str(error) for word in _DOWN)


def _key(name: str) -> Key:
    """The two numbers of a name: of its beginning up to the last `-`, and of the word after it."""
    head, dash, word = name.rpartition("-")
    return _number(f"{head}{dash}"), _number(word)


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], signed=True)


def _unsigned(key: Key) -> Key:
    """As PostgreSQL shows them."""
    return key[0] % 2**32, key[1] % 2**32
