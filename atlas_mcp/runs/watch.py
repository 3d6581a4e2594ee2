"""The watch of a process over the runs of the record, beside all calls.

It begins here what may begin, takes over what nobody executes any more, takes the safe answers to questions at their
deadline, stops here what was cancelled or taken away, and shows by its pulse that this process goes on.

A run of a process that was killed is taken over at the next look, LOOK_SECONDS later at the most. One that another
process has accepted and does not begin when its turn has come, because it has no slot, is left to it for GRACE_SECONDS.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.runs import answering, rows
from atlas_mcp.runs.admission import Limits, at_work
from atlas_mcp.runs.adoption import Gone, Here, due, lock_of, try_take
from atlas_mcp.runs.pulse import Onlooker, Pulse
from atlas_mcp.runs.runner import MAX_TURNS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskGroup

    from atlas_mcp.runs.bells import Bells
    from atlas_mcp.runs.opening import Opening
    from atlas_mcp.runs.rows import RunRow, Taken
    from atlas_mcp.runs.runner import Runner
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record


LOOK_SECONDS = 0.5
GRACE_SECONDS = 1.0
_STOP_SECONDS = 0.25  # how soon a run is stopped that another process cancelled
_log = logging.getLogger(__name__)


class Watch:
    """What one process, whose runs `runner` has in its hands, does about the runs of the record."""

    def __init__(
        self,
        record: Record,
        locks: Locks,
        runner: Runner,
        bells: Bells,
        *,
        providers: frozenset[str],
        limits: Limits,
        tasks: TaskGroup,
    ) -> None:
        self._record = record
        self._locks = locks
        self._runner = runner
        self._bells = bells
        self._providers = providers
        self._limits = limits
        self._tasks = tasks
        self._onlooker = Onlooker()
        self._pulse = Pulse(runner.name, record, lambda: bool(runner.mine))
        self._taking = anyio.Lock()
        self._most = max(limits.in_all, MAX_TURNS)
        self._wake = anyio.Event()
        self._since: dict[str, float] = {}

    async def keep(self) -> None:
        """Keep watch for as long as this process lives."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._pulse.beat)
                tasks.start_soon(self._stop_lost)
                await self._look_on()
        finally:
            with anyio.CancelScope(shield=True):
                await self._pulse.end()

    def wake(self) -> None:
        """Look at once."""
        self._wake.set()

    def drive(self, taken: Taken) -> None:
        """Execute a run for which a slot was taken."""
        # In a context of its own: one that a run submits is no part of that run to DBOS, nor to tracing.
        Context().run(self._tasks.start_soon, self._over, self._runner.drive, taken, name=taken.run_id)

    def begin(self, taken: Taken, opening: Opening) -> None:
        """As `drive`, for a run that somebody attends."""
        begin = partial(self._runner.begin, opening=opening)
        self._tasks.start_soon(self._over, begin, taken, name=taken.run_id)

    async def _over(self, execute: Callable[[Taken], Awaitable[None]], taken: Taken) -> None:
        try:
            await execute(taken)
        finally:
            self.wake()

    async def look(self) -> None:
        """Take in hand here what may be."""
        if self._runner.draining:
            return
        async with self._taking:
            async with self._record.look() as connection:  # twice a second: nothing may be spent where nothing is
                unfinished = await rows.unfinished(connection, self._most)
            if not unfinished:
                return
            gone = self._gone(unfinished)
            if self._chosen(unfinished, gone):
                for each in await self._take(gone):
                    self.drive(each)

    async def _take(self, gone: Gone) -> list[Taken]:
        slots: list[str] = []
        taken: list[Taken] = []
        try:
            async with self._record.write() as connection:
                for row in self._chosen(await rows.unfinished(connection, self._most), gone):
                    if self._runner.take_slot(row.id, row.kind, row.caller):
                        slots.append(row.id)
                        if begun := await try_take(connection, row, self._runner.name, gone):
                            taken.append(begun)
        except BaseException:
            taken = []
            raise
        finally:
            for run_id in {*slots} - {each.run_id for each in taken}:
                self._runner.give_slot_back(run_id)
        return taken

    def _chosen(self, unfinished: Sequence[RunRow], gone: Gone) -> list[RunRow]:
        """What is to be taken in hand here, as far as there is room."""
        here = Here(self._runner.name, self._runner.kinds, self._providers, self._runner.mine)
        found = due(unfinished, here, gone, self._limits)
        now = anyio.current_time()
        self._since = {row.id: self._since.get(row.id, now) for row in found.elsewhere}
        left = [row for row in found.elsewhere if now - self._since[row.id] >= GRACE_SECONDS]
        chosen: list[RunRow] = []
        taken: Counter[str] = Counter()
        for row in (*found.here, *left):
            kind = "turn" if row.kind == "turn" else "work"
            theirs = f"{kind} {row.caller}"
            if taken[kind] < self._runner.room(kind, "") and taken[theirs] < self._runner.room(kind, row.caller):
                taken.update((kind, theirs))
                chosen.append(row)
        return chosen

    def _gone(self, unfinished: Sequence[RunRow]) -> Gone:
        beats = {row.executor: row.beat for row in unfinished if row.executor not in (None, self._runner.name)}
        alive = self._locks.held_among([lock_of(name) for name in beats])
        ended = frozenset(name for name in beats if lock_of(name) not in alive)
        working = {row.executor for row in unfinished if at_work(row)}
        hung = self._onlooker.hung({name: beats[name] for name in beats if name in working and name not in ended})
        return Gone(ended, hung)

    async def _look_on(self) -> None:
        while True:
            try:
                await answering.take_safe_ones(self._record, self._bells)
                await self.look()
            except (LockTimeout, StoreUnavailable) as reason:
                _log.warning("the watch over the runs waits for the record: %s", reason)
            except Exception:  # noqa: BLE001
                # Without the watch, nobody would take over.
                _log.exception("the watch over the runs failed, and goes on")
            with anyio.move_on_after(LOOK_SECONDS):
                await self._wake.wait()
            self._wake = anyio.Event()

    async def _stop_lost(self) -> None:
        while True:
            try:
                await self._stop_what_is_lost()
            except (LockTimeout, StoreUnavailable):
                pass  # the other watch says so
            except Exception:  # noqa: BLE001
                _log.exception("the watch over the runs here failed, and goes on")
            await anyio.sleep(_STOP_SECONDS)

    async def _stop_what_is_lost(self) -> None:
        if working := self._runner.working:
            async with self._record.read() as connection:
                lost = await rows.not_ours(connection, list(working), self._runner.name)
            for run_id in lost:  # its executor of before the look: by now it may have another, whose run it is
                working[run_id]()
                self._bells.ring(run_id)
