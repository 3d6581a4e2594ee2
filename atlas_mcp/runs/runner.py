"""Executes runs in this process: at most MAX_RUNS at once, single turns apart, of which there are MAX_TURNS at most,
TURNS_OF_ONE of one caller; each in a task of its own, each to a state that is stored.

A run ends completed, failed or cancelled; or it is left unfinished for a later attempt when this process stops. An
executor is stopped by cancelling its task, once; one that does not stop within GRACE seconds is left alone and can
write nothing any more. A run that somebody attends begins at once, without the engine: its row says all that a later
attempt needs; and when it ends well its outcome is handed over instead of being stored.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import anyio

from atlas_mcp.errors import AtlasError, LockLost, LockTimeout, RunLost, StoreUnavailable, Waiting
from atlas_mcp.runs import rows, steps
from atlas_mcp.runs.attending import Attendances
from atlas_mcp.runs.changes import Entry
from atlas_mcp.runs.context import RunContext
from atlas_mcp.runs.engine import Engine
from atlas_mcp.runs.trace import AttemptSpan, attempt_span
from atlas_mcp.store.fair import on_behalf

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta
    from pathlib import Path
    from typing import Any

    from atlas_mcp.model.run import RunKind
    from atlas_mcp.runs.bells import Bells
    from atlas_mcp.runs.opening import Opening
    from atlas_mcp.runs.outcome import Executor, RunOutcome
    from atlas_mcp.runs.rows import Taken
    from atlas_mcp.store.postgres import Postgres
    from atlas_mcp.store.record import Record

MAX_RUNS = 16
MAX_TURNS = 24
TURNS_OF_ONE = 16
"""Of the single turns, those of one caller: whatever they have under way, there is room for others'."""

GRACE = 3.0
_NOTED_SECONDS = 0.5
_log = logging.getLogger(__name__)


class Runner:
    """The runs that this process, known as `name`, executes."""

    def __init__(
        self,
        name: str,
        database: Path | Postgres,
        record: Record,
        executors: Mapping[RunKind, Executor],
        bells: Bells,
        answer_within: timedelta,
    ) -> None:
        self.name = name
        self._record = record
        self._executors = executors
        self._bells = bells
        self._answer_within = answer_within
        self._engine = Engine(database, name, self._execute)
        self.attendances = Attendances()
        self._mine: dict[str, tuple[RunKind, str]] = {}
        self._driven: dict[str, Taken] = {}
        self._working: dict[str, _Attempt] = {}
        self._closing = False

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of runs that can be executed here."""
        return frozenset(self._executors)

    @property
    def draining(self) -> bool:
        """Whether nothing begins here any more."""
        return self._closing

    @property
    def mine(self) -> frozenset[str]:
        """The runs that this process has in its hands."""
        return frozenset(self._mine)

    @property
    def working(self) -> dict[str, Callable[[], None]]:
        """The runs whose executor is at work here, each with what stops that one, as `stop` does, and no later one."""
        return {run_id: attempt.lose for run_id, attempt in self._working.items()}

    def room(self, kind: str, caller: str) -> int:
        """How many more runs of that kind can be taken in hand here for the caller; single turns have slots of their
        own."""
        if self._closing:
            return 0
        alike = [of for other, of in self._mine.values() if (other == "turn") == (kind == "turn")]
        if kind != "turn":
            return MAX_RUNS - len(alike)
        return min(MAX_TURNS - len(alike), TURNS_OF_ONE - alike.count(caller))

    def take_slot(self, run_id: str, kind: RunKind, caller: str) -> bool:
        """Whether the run can begin here at once; then `drive`, `begin` or `give_slot_back` must follow."""
        if run_id in self._mine or self.room(kind, caller) <= 0:
            return False
        self._mine[run_id] = (kind, caller)
        return True

    def give_slot_back(self, run_id: str) -> None:
        """The run does not begin here after all, or is over here."""
        self._mine.pop(run_id, None)

    async def drive(self, taken: Taken) -> None:
        """Make the attempt at a run that was begun for this process, in the slot that was taken for it."""
        run_id = taken.run_id
        self._driven[run_id] = taken
        # An id of its own for each attempt but the first: a dead process's workflow of that name is still open.
        workflow_id = run_id if not taken.resumed else f"{run_id}.{secrets.token_hex(4)}"
        try:
            await self._engine.run(workflow_id, run_id)
        except Exception as error:  # noqa: BLE001
            # The engine could not start it; a run must not stay unfinished for ever because of that.
            await self._fail(run_id, error)
        finally:
            self._driven.pop(run_id, None)
            if self._closing:
                with anyio.CancelScope(shield=True):
                    await self._release(run_id)
            self.give_slot_back(run_id)

    async def begin(self, taken: Taken, opening: Opening) -> None:
        """As `drive`, for a run that somebody attends, and that may not be stored yet."""
        run_id = taken.run_id
        try:
            with anyio.CancelScope(shield=True):
                await self._attempt(taken, opening)
        except Exception as error:  # noqa: BLE001
            await self._fail(run_id, error)
        finally:
            self.give_slot_back(run_id)

    def stop(self, run_id: str) -> None:
        """Cancel the executor of that run, if it is at work here. Its row says why. One that has put its run to waiting
        for an answer ends by itself, and is given GRACE seconds for it."""
        if attempt := self._working.get(run_id):
            attempt.lose()

    def drain(self) -> None:
        """Take no more runs; those at work here go on."""
        self._closing = True

    def stop_all(self) -> None:
        """Take no more runs, and stop every executor; their runs stay unfinished."""
        self.drain()
        for attempt in self._working.values():
            attempt.stop()

    async def close(self) -> None:
        """Shut the engine down; every `drive` has returned."""
        await self._engine.close()

    async def _execute(self, run_id: str) -> None:
        # Called by the engine, inside its workflow. Whatever happens is stored in the row: nothing is raised.
        taken = self._driven.pop(run_id, None)
        if taken is None or self._closing:
            return
        try:
            await self._attempt(taken)
        except Exception as error:  # noqa: BLE001
            await self._fail(run_id, error)

    async def _attempt(self, taken: Taken, opening: Opening | None = None) -> None:
        run_id, order = taken.run_id, taken.order
        on_behalf.set(order.caller.id)
        self._bells.ring(run_id)
        with attempt_span(run_id, taken.kind, taken.goal, order, taken.attempt) as span:
            context = RunContext(
                run_id,
                order.caller,
                order.input,
                resumed=taken.resumed,
                attempt=taken.attempt,
                executor=self.name,
                record=self._record,
                news=lambda: self._bells.ring(run_id),
                lost=lambda: made.lose(),
                give=lambda outcome: self.attendances.hand(run_id, outcome, span.trace_id),
                answer_within=self._answer_within,
                opening=opening,
            )
            # A task of asyncio's, not of a task group: LangGraph's workers are only reached by its kind of cancelling.
            made = _Attempt(context, asyncio.create_task(_outcome(self._executors[taken.kind], context)))
            self._working[run_id] = made
            if self._closing:
                made.stop()
            try:
                if span.trace_id and span.trace_id != taken.trace_id:
                    if opening:  # most are done by then, and nothing of them is kept
                        await made.over(within=_NOTED_SECONDS)
                    if made.error() is not None:
                        # Nothing ends by that: if it waits by now, or was taken away, its executor is told so itself.
                        with suppress(RunLost, LockTimeout, StoreUnavailable):
                            await context.set_trace_id(span.trace_id)
                await made.over()
                if opening is None or not await self._refused(made, opening, run_id, span):
                    await self._settle(taken, made, span)
            finally:
                made.stop()
                del self._working[run_id]
                self.attendances.over(run_id)
                self._bells.ring(run_id)

    async def _refused(self, attempt: _Attempt, opening: Opening, run_id: str, span: AttemptSpan) -> bool:
        """Whether nothing was begun and nothing is kept, as whoever attends the run is told why; else it is stored."""
        error = attempt.error()
        reason = _cause(error) if error is not None and not attempt.stopped else None
        if isinstance(reason, AtlasError) and await opening.drop():
            self.attendances.refuse(run_id, reason)
            span.settle("failed", str(reason))
            return True
        await opening.now()
        return False

    async def _settle(self, taken: Taken, attempt: _Attempt, span: AttemptSpan) -> None:
        run_id, error = taken.run_id, attempt.error()
        if error is None:
            try:
                await self._complete(taken, attempt.task.result(), span)
            except (LockTimeout, StoreUnavailable) as reason:
                # It stays unfinished, is taken in hand again, and its executor finds that the work is done.
                _log.warning("the end of run %s could not be stored: %s", run_id, reason)
        elif attempt.waits and isinstance(_cause(error), Waiting | RunLost | asyncio.CancelledError):
            pass
        elif self._closing and attempt.stopped:
            await self._release(run_id)
        elif not attempt.stopped:
            await self._fail(run_id, error, span)
        if attempt.waits:  # whatever others of it met with: where nothing was stored of that, this stands
            span.settle("awaiting_answer", str(Waiting(run_id)))

    async def _complete(self, taken: Taken, outcome: RunOutcome, span: AttemptSpan) -> None:
        run_id = taken.run_id
        values: dict[str, Any] = {"reply": outcome.reply, "note": outcome.note}
        if outcome.result is not None:
            values["result"] = outcome.result.model_dump(mode="json")
        entry = Entry("atlas", "run_completed", "Completed.")
        handed = self.attendances.promise(run_id)
        try:
            async with self._record.jot(taken.order.caller.id) as connection:
                if handed:
                    await rows.hand_over(connection, run_id, self.name)
                else:
                    late = outcome.changes and (await steps.take(connection, run_id, self.name, outcome.changes)).late
                    if not late:
                        await rows.end(connection, run_id, self.name, "completed", entry, **values)
        except RunLost:
            return
        if handed:
            self.attendances.hand(run_id, outcome, span.trace_id)
        span.settle("completed", "completed")

    async def _release(self, run_id: str) -> None:
        async with self._record.write() as connection:
            await rows.release(connection, run_id, self.name)

    async def _fail(self, run_id: str, error: BaseException, span: AttemptSpan | None = None) -> None:
        error = _cause(error)
        if isinstance(error, RunLost):
            return
        if isinstance(error, StoreUnavailable | LockLost):
            await self._give_back(run_id, error)
            return
        text = str(error) if isinstance(error, AtlasError) else f"unexpected error: {type(error).__name__}"
        if not isinstance(error, AtlasError):
            _log.error("run %s failed", run_id, exc_info=error)
        entry = Entry("atlas", "run_failed", text, data={"error": type(error).__name__})
        try:
            async with self._record.write() as connection:
                await rows.end(connection, run_id, self.name, "failed", entry, error=text)
        except AtlasError:
            return  # cancelled, taken over, or gone: then that is the truth
        except Exception:  # noqa: BLE001
            _log.exception("the end of run %s could not be stored", run_id)
            return
        finally:
            self._bells.ring(run_id)
        if span is not None:
            span.settle("failed", text)

    async def _give_back(self, run_id: str, error: AtlasError) -> None:
        """The database was gone for a while: that is not the run's fault, and it goes on when it can."""
        _log.warning("run %s stopped, and goes on later: %s", run_id, error)
        try:
            await self._release(run_id)
        except AtlasError:
            return  # still gone: the row names this process, whose watch finds that it has not got it in its hands
        finally:
            self._bells.ring(run_id)


class _Attempt:
    """An executor at work: what it has in its hands, its task, and whether it was told to stop."""

    def __init__(self, context: RunContext, task: asyncio.Task[RunOutcome]) -> None:
        self._context = context
        self.task = task
        self._stopped_at: float | None = None

    @property
    def stopped(self) -> bool:
        return self._stopped_at is not None

    @property
    def waits(self) -> bool:
        """Whether it let its run wait for an answer; that others of it are refused or stopped then is no failure."""
        return self._context.waits_since is not None

    def lose(self) -> None:
        """Stop it, unless it has put its run to waiting and ends by itself, for which it is given GRACE seconds."""
        since = self._context.waits_since
        if since is None or anyio.current_time() >= since + GRACE:
            self.stop()

    def stop(self) -> None:
        if self._stopped_at is None:
            self._stopped_at = anyio.current_time()
            self.task.cancel()

    async def over(self, within: float = math.inf) -> None:
        """Return when the task is done, or was told to stop and did not for GRACE seconds; or that time is over."""
        end = anyio.current_time() + within
        while not self.task.done() and not self._overdue() and anyio.current_time() < end:
            await asyncio.wait({self.task}, timeout=min(GRACE / 3, within))

    def error(self) -> BaseException | None:
        """Why there is no outcome, or None if there is one."""
        if not self.task.done():
            return TimeoutError("the executor did not stop")
        return asyncio.CancelledError() if self.task.cancelled() else self.task.exception()

    def _overdue(self) -> bool:
        return self._stopped_at is not None and anyio.current_time() > self._stopped_at + GRACE


async def _outcome(executor: Executor, context: RunContext) -> RunOutcome:
    try:
        return await executor(context)
    finally:
        with anyio.CancelScope(shield=True):
            await context.flush()


def _cause(error: BaseException) -> BaseException:
    # Task groups wrap what one of their tasks raised.
    while isinstance(error, BaseExceptionGroup):
        inner = cast("tuple[BaseException, ...]", error.exceptions)
        if len(inner) != 1:
            break
        error = inner[0]
    return cast("BaseException", error)
