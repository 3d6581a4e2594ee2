"""What an executor has in its hands while it does a run.

What is written together is stored together or not at all, perhaps with what others of the run write at that moment, and
goes through only while the run is this process's: after that it raises RunLost, and the executor is cancelled. What was
written before stays.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
from sqlalchemy import bindparam, select

from atlas_mcp.errors import RunLost, Waiting
from atlas_mcp.model.run import Progress
from atlas_mcp.runs import journal, questions, rows, steps
from atlas_mcp.runs.changes import Entry, Kept, Spent
from atlas_mcp.runs.pen import Pen
from atlas_mcp.runs.trace import question_span
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import timedelta

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.plan import Plan
    from atlas_mcp.model.question import Asking
    from atlas_mcp.model.result import Result
    from atlas_mcp.model.run import Event
    from atlas_mcp.model.usage import Usage
    from atlas_mcp.runs.changes import Change
    from atlas_mcp.runs.opening import Opening
    from atlas_mcp.runs.outcome import RunOutcome
    from atlas_mcp.runs.steps import Stand, Step
    from atlas_mcp.store.record import Record

_ARTIFACT = tables.artifact
_TEXT = select(_ARTIFACT.c.text).where(_ARTIFACT.c.run_id == bindparam("run"), _ARTIFACT.c.name == bindparam("called"))


class RunContext:
    """One attempt at one run.

    `resumed` tells that an earlier attempt had begun, `attempt` counts those whose process died, from 1. `opening` is
    there where the run began at once for somebody who waits for it: its rows, with the first entry, that the first
    piece of work takes along. `waits_since` is when, by the loop's clock, it put the run to waiting for an answer, if
    it has.
    """

    def __init__(
        self,
        run_id: str,
        caller: Caller,
        input: dict[str, Any],
        *,
        resumed: bool,
        attempt: int,
        executor: str,
        record: Record,
        news: Callable[[], None],
        lost: Callable[[], None],
        give: Callable[[RunOutcome], None],
        answer_within: timedelta,
        opening: Opening | None = None,
    ) -> None:
        self.run_id = run_id
        self.caller = caller
        self.input = input
        self.resumed = resumed
        self.attempt = attempt
        self._executor = executor
        self._record = record
        self._news = news
        self._lost = lost
        self._give = give
        self._answer_within = answer_within
        self.opening = opening
        self._pen = Pen(run_id, self._take)
        self._stand: Stand | None = None
        self.waits_since: float | None = None

    def hand_over(self, outcome: RunOutcome) -> None:
        """Give the outcome, which is sure and will be returned in a moment, to somebody who waits for it now."""
        self._give(outcome)

    async def write(self, *changes: Change) -> list[Event]:
        """Make these changes in one transaction: all of them or none.

        Gives the events of the entries, in order; for a key that was written before, the event that stands. Once the
        run has been cancelled only what was kept, spent and come to is written, and RunLost raised for the rest.
        """
        return await self._pen.write(*changes)

    def tell(self, *changes: Change) -> None:
        """Make these changes with the next ones, at the latest in a moment; nobody waits for it."""
        self._pen.tell(*changes)

    async def flush(self) -> None:
        """Return when all that was told is stored; raises what keeps it from being."""
        await self._pen.flush()

    async def _take(self, changes: Sequence[Change]) -> Step:
        known, self._stand = self._stand, None
        await self._opened()
        try:
            async with self._record.jot(self.caller.id) as connection:
                step = await steps.take(connection, self.run_id, self._executor, changes, known)
        except RunLost:
            self._lost()
            raise
        self._stand = step.stand
        if step.late:
            self._lost()
        if step.new:
            self._news()
        return step

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> Event:
        """Add an event to the journal. `data` is plain JSON. The same `key` is written once in a run, also by a later
        attempt; the event that stands is given. What led to it can be told by an Entry."""
        [event] = await self.write(Entry(actor, type, text, turn_id, data, key))
        return event

    async def ask(self, asking: Asking, *, key: str) -> str:
        """The answer to that question, which is asked once under that key.

        While there is none this raises Waiting, which the executor lets out: the run waits and holds no slot. By the
        answer, or at the deadline by `asking.safe`, a new attempt begins, which asks again and is given it.
        """
        await self.flush()
        await self._opened()
        try:
            with question_span(asking) as answered:
                async with self._record.write(self.caller.id) as connection:
                    answer = await questions.wait(
                        connection, self.run_id, self._executor, asking, key, self._deadline()
                    )
                    if answer is None:  # before the commit: from then on others see that nobody executes the run
                        self.waits_since = anyio.current_time()
                answered(answer)
        except RunLost:
            self._lost()
            raise
        if answer is None:
            self._news()
            raise Waiting(self.run_id)
        return answer

    async def put(self, asking: Asking, *, key: str, most: int | None = None) -> bool:
        """Put a question that the run can go on without for now: `ask` with the same key waits for the answer.

        False, and it is not put, where agents have put `most` questions in this run already.
        """
        await self.flush()
        await self._opened()
        try:
            with question_span(asking) as answered:
                async with self._record.write(self.caller.id) as connection:
                    put = await questions.put(
                        connection, self.run_id, self._executor, asking, key, self._deadline(), most=most
                    )
                answered(None)
        except RunLost:
            self._lost()
            raise
        if put:
            self._news()
        return put

    async def _opened(self) -> None:
        if self.opening is not None:
            await self.opening.now()

    def _deadline(self) -> datetime:
        return datetime.now(UTC) + self._answer_within

    async def history(self) -> list[Event]:
        """Everything that was told of the run so far."""
        await self.flush()
        async with self._record.look() as connection:
            return await journal.after(connection, self.run_id, 0)

    async def set_plan(self, plan: Plan) -> None:
        """Show the plan to those who follow the run."""
        await self.write(plan)

    async def set_progress(self, done: int, total: int, text: str) -> None:
        """Say how far the run is: turns done of those known so far, and what is going on in words."""
        await self.write(Progress(done=done, total=total, text=text))

    async def set_trace_id(self, trace_id: str) -> None:
        """Say which trace shows this attempt."""
        await self._opened()
        try:
            async with self._record.write(self.caller.id) as connection:
                await rows.set_trace(connection, self.run_id, self._executor, trace_id)
        except RunLost:
            self._lost()
            raise

    async def set_result(self, result: Result) -> None:
        """Keep the best there is so far: what callers get if the run is cancelled or fails."""
        await self.write(result)

    async def add_usage(self, usage: Usage, *, key: str | None = None) -> None:
        """Add to what the run has cost. The same `key` (the turn's id) counts once, also in a later attempt."""
        await self.write(Spent(usage, key))

    async def save(self, name: str, text: str) -> None:
        """Keep a text under that name, instead of the one it had."""
        await self.write(Kept(name, text))

    async def load(self, name: str) -> str | None:
        """The text kept under that name, also by an earlier attempt; None if there is none."""
        async with self._record.look() as connection:
            return (await connection.execute(_TEXT, {"run": self.run_id, "called": name})).scalar_one_or_none()
