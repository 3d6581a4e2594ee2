"""The runs of a home: submitted, followed, listed and cancelled from any process, executed by one at a time.

Promise: a run that was submitted is stored before anything else happens and is never lost: it ends completed, failed or
cancelled, whatever dies in between. What a run wrote stays. A caller sees only runs of their own; another's does not
exist. Nothing here belongs to a request: runs live in a task group of their own, opened and closed with `Runs`.
"""

from __future__ import annotations

import base64
import math
import secrets
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, get_args

import anyio

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.run import ENDED, Event, Run, RunKind, RunStatus
from atlas_mcp.runs import answering, journal, questions, rows, view
from atlas_mcp.runs.admission import admitted, check_open, why_waiting
from atlas_mcp.runs.adoption import lacking, lock_of, orphaned
from atlas_mcp.runs.attending import Attendance
from atlas_mcp.runs.bells import Bells
from atlas_mcp.runs.opening import Opening
from atlas_mcp.runs.rows import Order, Taken
from atlas_mcp.runs.runner import Runner
from atlas_mcp.runs.trace import asked_from, trace_of
from atlas_mcp.runs.watch import Watch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.runs.admission import Limits
    from atlas_mcp.runs.changes import Entry
    from atlas_mcp.runs.opening import Store
    from atlas_mcp.runs.outcome import Executor, RunOutcome
    from atlas_mcp.runs.rows import RunRow
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

    OnEvent = Callable[[Event], Awaitable[None]]
    OnRun = Callable[[str], None]

MAX_PAGE = 100
_LOOK_SECONDS = 0.1  # how often one who waits looks at a run that another process executes
_LOOK_AT_OWN_SECONDS = 1.0  # news of our own runs comes by bell

RunList: TypeAlias = list[Run]  # `list` is a method below


@dataclass(frozen=True, slots=True)
class Asked:
    """A run that was asked for, and what it came to if it ended well meanwhile, with the trace that shows it."""

    run_id: str
    outcome: RunOutcome | None = None
    trace_id: str | None = None


class Runs:
    """The runs of one home; made by `open_runs`."""

    def __init__(
        self,
        record: Record,
        locks: Locks,
        runner: Runner,
        bells: Bells,
        watch: Watch,
        *,
        providers: frozenset[str],
        limits: Limits,
    ) -> None:
        self._record = record
        self._locks = locks
        self._runner = runner
        self._bells = bells
        self._watch = watch
        self._providers = providers
        self._limits = limits
        self.letting_go = False
        self._openings: dict[str, Opening] = {}

    @property
    def executor(self) -> str:
        """The name under which the record knows this process."""
        return self._runner.name

    def ring_far_too(self, ring: OnRun) -> OnRun:
        """Have `ring` called, which must not wait, with the id of each run that something happens to here; what is to
        be called when something happened to one in another process."""
        self._bells.far = ring
        return self._bells.ring_here

    async def submit(
        self,
        caller: Caller,
        kind: RunKind,
        goal: str,
        input: dict[str, Any],
        *,
        needs: Sequence[str] = (),
        on_run: OnRun | None = None,
        counted: bool = True,
    ) -> str:
        """Store a run and start it as soon as there is room; its id. `input` is plain JSON, `needs` names the model
        providers it cannot do without: where one is missing, the run waits for a process that has them all. `on_run` is
        told the id before anything is stored: one who is cut off in the middle can look whether there is such a run.
        LimitReached where the caller has as many as may be open, unless it is not `counted`, as part of another."""
        run_id = _named(on_run)
        order = Order(caller=caller, input=input, traceparent=asked_from(run_id, kind, goal, caller))
        here = self._can_do(kind, needs)
        slot = here and self._runner.take_slot(run_id, kind, caller.id)
        executor = self._runner.name if here else None
        begun = False
        try:
            async with self._record.jot() as connection:  # nobody else begins a run meanwhile: they are counted
                if counted:
                    check_open(self._limits, caller.id, await rows.count_unfinished(connection, caller.id))
                begun = slot and await self._admitted(connection, caller, kind)
                await rows.add(
                    connection, run_id, kind, goal, order, [*needs], executor, begun_with=() if begun else None
                )
        except BaseException:
            begun = False
            raise
        finally:
            if slot and not begun:
                self._runner.give_slot_back(run_id)
        if begun:
            self._watch.drive(Taken(run_id, kind, goal, order, trace_id=trace_of(order.traceparent)))
        elif here:
            self._watch.wake()
        return run_id

    async def _admitted(self, connection: AsyncConnection, caller: Caller, kind: RunKind) -> bool:
        if kind == "turn":
            return True
        return admitted(await rows.load(connection), caller.id, self._limits)

    async def ask(
        self,
        caller: Caller,
        kind: RunKind,
        goal: str,
        input: dict[str, Any],
        *,
        needs: Sequence[str] = (),
        wait_seconds: float,
        on_event: OnEvent | None = None,
        on_run: OnRun | None = None,
        first: Callable[[str], Entry],
    ) -> Asked:
        """Store a run, start it, and wait for it. If it ended well within the time nothing is kept of it but what this
        gives; else it goes on, or has failed, and is followed by its id. `on_event` is told its events meanwhile, of
        which `first` gives, for that id, the one that is stored with the run if it begins at once. `on_run` is as for
        `submit`. Raises what its executor refused it with before it began.
        """
        run_id = _named(None)
        if not self._can_do(kind, needs) or not self._runner.take_slot(run_id, kind, caller.id):
            return Asked(await self.submit(caller, kind, goal, input, needs=needs, on_run=on_run))
        if on_run is not None:
            on_run(run_id)
        order = Order(caller=caller, input=input, traceparent=asked_from(run_id, kind, goal, caller))
        me, begun_with = self._runner.name, [first(run_id)]

        async def store(connection: AsyncConnection) -> None:
            await rows.add(connection, run_id, kind, goal, order, [*needs], me, begun_with=begun_with)

        taken = Taken(run_id, kind, goal, order, trace_id=trace_of(order.traceparent))
        with self._opening(run_id, caller, store) as opening:
            attendance = await self._attended(taken, opening, wait_seconds, on_event)
        if attendance.error is not None:
            raise attendance.error
        return Asked(run_id, attendance.outcome, attendance.trace_id)

    async def _attended(
        self, taken: Taken, opening: Opening, wait_seconds: float, on_event: OnEvent | None
    ) -> Attendance:
        """Begin the run and wait for it. One that goes on is stored when its attendant has gone."""
        attendance, enough = Attendance(), anyio.Event()
        try:
            with self._runner.attendances.of(taken.run_id, attendance):
                self._watch.begin(taken, opening)
                async with anyio.create_task_group() as meanwhile:
                    meanwhile.start_soon(opening.soon, enough)
                    if on_event is not None:
                        meanwhile.start_soon(self._tell, taken.run_id, on_event, enough)
                    await attendance.wait(wait_seconds)
                    enough.set()
                    self._bells.ring(taken.run_id)
                await attendance.kept()
        finally:
            if attendance.outcome is None and attendance.error is None:
                with anyio.CancelScope(shield=True):
                    await opening.now()
        return attendance

    async def _all_to_be_seen(self) -> None:
        """See to it that who looks finds every run that has begun here, and none that was handed over."""
        await self._runner.attendances.gone()
        await self._all_stored()

    async def _all_stored(self) -> None:
        for opening in [*self._openings.values()]:
            await opening.now()

    @contextmanager
    def _opening(self, run_id: str, caller: Caller, store: Store) -> Generator[Opening]:
        opening = Opening(self._record, run_id, caller.id, store, partial(self._bells.ring, run_id))
        self._openings[run_id] = opening
        try:
            yield opening
        finally:
            del self._openings[run_id]

    async def _tell(self, run_id: str, on_event: OnEvent, enough: anyio.Event) -> None:
        since = 0
        while not enough.is_set():
            with self._bells.listen(run_id) as rung:
                async with self._record.look() as connection:
                    events = await journal.after(connection, run_id, since)
                for event in events:
                    since = event.seq
                    await on_event(event)
                if not enough.is_set():
                    await rung.wait()

    def _can_do(self, kind: RunKind, needs: Sequence[str]) -> bool:
        ours = kind in self._runner.kinds and self._providers.issuperset(needs)
        return ours and not self._runner.draining

    async def get(self, caller: Caller, run_id: str, *, since: int = 0, wait_seconds: float = 0) -> Run:
        """The run with its events after number `since`. Waits up to `wait_seconds` until there is such an event or
        the run has ended. UnknownRun."""
        deadline = anyio.current_time() + wait_seconds
        await self._all_stored()
        while True:
            with self._bells.listen(run_id) as rung:
                async with self._record.look() as connection:
                    row = await rows.find(connection, run_id, caller.id)
                    events = await journal.after(connection, run_id, since)
                    asked = await questions.open_of(connection, [run_id]) if row.status not in ENDED else {}
                left = deadline - anyio.current_time()
                if events or row.status in ENDED or left <= 0 or self.letting_go:
                    return view.shown(row, events, asked.get(run_id), note=self._why_waiting(row))
                await self._pause(rung, row, left)

    async def list(
        self, caller: Caller, *, status: RunStatus | None = None, limit: int = 20, cursor: str | None = None
    ) -> tuple[RunList, str | None]:
        """The caller's runs without their events, newest first, and the cursor to go on from, if there are more."""
        if status is not None and status not in get_args(RunStatus):
            raise InvalidInput(f"{status!r} is not a status.", argument="status", allowed=get_args(RunStatus))
        if not 1 <= limit <= MAX_PAGE:
            raise InvalidInput(f"must be between 1 and {MAX_PAGE}, not {limit}.", argument="limit")
        before = view.read_cursor(cursor) if cursor is not None else None
        await self._all_to_be_seen()
        async with self._record.read() as connection:
            found = await rows.page(connection, caller.id, status, before, limit + 1)
            page = found[:limit]
            asked = await questions.open_of(connection, [row.id for row in page if row.status not in ENDED])
        following = view.cursor_after(page[-1]) if len(found) > limit else None
        return [view.shown(row, (), asked.get(row.id), note=self._why_waiting(row)) for row in page], following

    async def answer(self, caller: Caller, run_id: str, text: str, *, question_id: str | None = None) -> Run:
        """Answer the run's oldest open question, or the one of that id; the run as it goes on.

        A question is answered once: after that nothing is changed, and the note says so. UnknownRun, IllegalChange for
        a run that asks nothing, InvalidInput and OverLimit for an answer that does not fit.
        """
        given = await answering.give(self._record, self._bells, caller, run_id, text, question_id)
        if given.goes_on:
            await self._watch.look()
        run = await self.get(caller, run_id)
        return run.model_copy(update={"note": " ".join(n for n in (given.note, run.note) if n) or None})

    async def cancel(self, caller: Caller, run_id: str) -> Run:
        """Cancel the run, wherever it is executed, and give it with what was done. A run that had ended is left as it
        is, and its note says so. UnknownRun."""
        await self._all_stored()
        async with self._record.jot() as connection:
            cancelled = await rows.cancel(connection, run_id, caller.id)
        self._runner.stop(run_id)
        self._bells.ring(run_id)
        run = await self.get(caller, run_id)
        if cancelled or run.status == "cancelled":
            return run
        note = f"It had {run.status} before: nothing was changed."
        return run.model_copy(update={"note": f"{note} {run.note}" if run.note else note})

    async def count_open(self, caller: Caller) -> int:
        """How many of the caller's runs have not ended."""
        await self._all_to_be_seen()
        async with self._record.read() as connection:
            return await rows.count_unfinished(connection, caller.id)

    async def load(self, caller: Caller, run_id: str, name: str) -> str | None:
        """A text that the run keeps under that name, None if there is none. UnknownRun."""
        async with self._record.read() as connection:
            return await rows.artifact(connection, run_id, caller.id, name)

    async def forget(self, caller: Caller, run_id: str) -> None:
        """Delete a run that has ended, with all it kept. UnknownRun, and IllegalChange for one that goes on."""
        async with self._record.write() as connection:
            await rows.remove(connection, run_id, caller.id)

    async def follow(self, run_id: str, since: int = 0) -> AsyncGenerator[Event]:
        """The run's events after number `since`, as they come, until it has ended. UnknownRun."""
        while True:
            with self._bells.listen(run_id) as rung:
                async with self._record.look() as connection:
                    row = await rows.stand(connection, run_id)
                    events = await journal.after(connection, run_id, since)
                for event in events:
                    since = event.seq
                    yield event
                if row.status in ENDED:
                    return
                await self._pause(rung, row)

    def drain(self) -> None:
        """Begin nothing here any more: what is asked for waits for another process, or for the next start."""
        self._runner.drain()

    def let_go(self) -> None:
        """From now on, let nobody wait for a run: everybody is given it as it stands."""
        self.letting_go = True
        self._runner.attendances.let_go()
        self._bells.ring_all()

    async def _pause(self, rung: anyio.Event, row: RunRow, at_most: float = math.inf) -> None:
        # Until something happens to the run here, or it is time to look what another process did.
        own = row.executor == self._runner.name
        with anyio.move_on_after(min(at_most, _LOOK_AT_OWN_SECONDS if own else _LOOK_SECONDS)):
            await rung.wait()

    def _why_waiting(self, row: RunRow) -> str | None:
        if row.status not in ("queued", "working"):
            return None
        if missing := lacking(row, self._providers):
            return view.waiting_for(missing) if orphaned(row, self._locks) else None
        return why_waiting(self._limits) if row.status == "queued" and row.kind != "turn" else None


@asynccontextmanager
async def opened(
    home: Home,
    record: Record,
    locks: Locks,
    executors: Mapping[RunKind, Executor],
    *,
    providers: frozenset[str],
    answer_within: timedelta,
    limits: Limits,
    name: str,
) -> AsyncGenerator[Runs]:
    """See `open_runs`."""
    held = locks.try_hold(lock_of(name))
    if held is None:
        raise RuntimeError(f"the lock of the new executor {name} is taken")
    bells = Bells()
    runner = Runner(name, record.database or home.engine, record, executors, bells, answer_within)
    failure: Exception | None = None
    try:
        async with anyio.create_task_group() as tasks:
            watch = Watch(record, locks, runner, bells, providers=providers, limits=limits, tasks=tasks)
            runs = Runs(record, locks, runner, bells, watch, providers=providers, limits=limits)
            tasks.start_soon(watch.keep)
            try:
                yield runs
            except Exception as error:  # noqa: BLE001
                # Raised again below: out of a task group it would come wrapped in an ExceptionGroup.
                failure = error
            finally:
                runner.stop_all()
                tasks.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await runner.close()
        held.release()
    if failure is not None:
        raise failure


def _named(on_run: OnRun | None) -> str:
    """The id of a new run, of which `on_run` is told."""
    run_id = "run_" + base64.b32encode(secrets.token_bytes(13)).decode()[:20].lower()
    if on_run is not None:
        on_run(run_id)
    return run_id
