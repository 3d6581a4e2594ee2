"""Turns: one message to one agent, exactly once, and what came of it.

Promise: the same key is the same turn. Its row is written before its message is sent; once it is done its result is
given again; and after a crash or a cut connection the message is looked for in its conversation before it is sent
again. Turns of one conversation queue, across processes; one that was abandoned while it may still run in Letta (its
process died, or it was cancelled) is waited for by the next, since Letta's own servers lose context otherwise. What
the agent changed in its memory is recorded as its own revisions. A turn that fails leaves the error in its row and may
be tried again with its key. What a turn may cost is reserved in the ledger with its row, and put right with its end.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.constellation import turn_rows
from atlas_mcp.constellation.agents import shown_model
from atlas_mcp.constellation.names import busy_marks, turn_lock
from atlas_mcp.constellation.prompt_age import is_outdated
from atlas_mcp.constellation.threads import NEW
from atlas_mcp.constellation.tool_costs import with_tools
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.constellation.turn_job import Begun, Job
from atlas_mcp.errors import (
    AtlasError,
    BudgetSpent,
    InvalidInput,
    LettaLost,
    LettaUnavailable,
    ModelFailed,
    OverLimit,
)
from atlas_mcp.letta.faults import NotBegun
from atlas_mcp.model.task import MAX_MESSAGE
from atlas_mcp.model.turn import TurnResult
from atlas_mcp.model.usage import Usage
from atlas_mcp.watch import spans
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.estimate import expected_tokens

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.blocks import Blocks
    from atlas_mcp.constellation.contract import ModelChoice, OnAnswer, OnEvent, Opening, Tools, ToolSession
    from atlas_mcp.constellation.gate import Gate
    from atlas_mcp.constellation.keeper import Keeper
    from atlas_mcp.constellation.threads import Threads
    from atlas_mcp.constellation.turn_rows import TurnRow
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import Answer
    from atlas_mcp.model.agent import AgentSpec, Roster
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.ledger import Ledger, Reservation
    from atlas_mcp.watch.prompts.versions import Versions
    from atlas_mcp.watch.spans import Span

log = logging.getLogger(__name__)
_UNKNOWN = "what became of it is not known"
_NOTHING = Usage(cost_usd=0.0)


class _TookTooLong(ModelFailed):
    """Raised when a turn took longer than its agent may."""


class Turns:
    """One caller's turns."""

    def __init__(
        self,
        caller: Caller,
        roster: Roster,
        letta: Letta,
        record: Record,
        locks: Locks,
        models: ModelChoice,
        toolbox: Tools,
        *,
        keeper: Keeper,
        threads: Threads,
        blocks: Blocks,
        gate: Gate,
        ledger: Ledger,
        versions: Versions | None = None,
    ) -> None:
        self._caller = caller
        self._roster = roster
        self._letta = letta
        self._record = record
        self._locks = locks
        self._models = models
        self._toolbox = toolbox
        self._keeper = keeper
        self._threads = threads
        self._blocks = blocks
        self._gate = gate
        self._ledger = ledger
        self._versions = versions

    async def take(
        self,
        agent: str,
        message: str,
        *,
        conversation: str | None,
        key: str,
        run_id: str | None,
        tools: ToolSession | None,
        on_event: OnEvent | None,
        on_answer: OnAnswer | None,
        opening: Opening | None,
        asked_by: tuple[str, str] | None,
    ) -> TurnResult:
        """See `Constellation.take_turn`."""
        self._roster.agent(agent)
        _check_message(message)
        named = conversation not in {None, NEW} and self._letta.abilities.conversations
        thread = conversation if conversation and named else await self._thread(agent, conversation, key, run_id)
        asked = monotonic()
        while True:
            async with self._locks.hold(turn_lock(agent, thread)), self._gate:
                spans.waited(f"wait for {agent}", waited := monotonic() - asked, atlas__agent=agent)
                async with self._record.look() as db:
                    known = await turn_rows.by_key(db, self._caller, key)
                    if known is None and named:
                        await self._threads.find(db, agent, thread)
                    row = known or turn_rows.new(self._caller, key, agent, thread, message)
                    begun = replace(await self._begun(db, row), waited=waited)
                if row.agent != agent:
                    raise InvalidInput(f"the key {key!r} is that of a turn with {row.agent}.", argument="key")
                if row.result:
                    return row.result
                if row.conversation == thread and (reserved := await self._noted(row, key, run_id, opening)):
                    with self._ledger.under_way(reserved):
                        return await self._do(begun, reserved, tools, on_event, on_answer, asked_by)
            thread = await self._thread(agent, row.conversation, key, run_id)  # another process has just begun it

    async def _noted(self, row: TurnRow, key: str, run_id: str | None, opening: Opening | None) -> Reservation | None:
        from sqlalchemy.exc import IntegrityError

        model = self._keeper.handle(self._roster.agent(row.agent))
        estimate = self._usage(model, *expected_tokens(row.message))
        reserve = partial(self._ledger.reserve, turn=row.id, run_id=run_id, model=model, known=not row.fresh)
        while True:
            try:
                riding = opening.riding() if opening else nullcontext(_nothing)
                async with riding as along, self._record.jot(self._caller.id) as db:
                    await along(db)
                    await turn_rows.begin(db, self._caller, row, key, run_id)
                    return await reserve(db, self._caller, estimate=estimate)
            except IntegrityError:  # another process has just begun this turn, in another conversation
                return None
            except BudgetSpent as refused:
                if not await self._ledger.room_comes(run_id, refused):
                    raise

    async def _thread(self, agent: str, conversation: str | None, key: str, run_id: str | None) -> str:
        async with self._record.look() as db:
            known = await turn_rows.by_key(db, self._caller, key)
            thread = known.conversation if known else await self._threads.find(db, agent, conversation)
        return thread or await self._threads.resolve(agent, conversation, run_id=run_id)

    async def _begun(self, db: AsyncConnection, row: TurnRow) -> Begun:
        kept = await self._keeper.read(db, row.agent)
        if kept is None or self._letta.kind == "embedded":
            return Begun(row, kept)
        others = await turn_rows.unsettled(db, self._caller, row)
        outdated = await is_outdated(db, self._caller, self._letta.name, row, kept)
        return Begun(row, kept, tuple(others), outdated)

    async def _do(
        self,
        begun: Begun,
        reserved: Reservation,
        tools: ToolSession | None,
        on_event: OnEvent | None,
        on_answer: OnAnswer | None,
        asked_by: tuple[str, str] | None,
    ) -> TurnResult:
        row = begun.row
        with self._marked_busy(row.agent), self._span(begun, reserved.run_id) as opened:
            try:
                job = await self._prepared(begun, reserved, tools, on_event, on_answer)
                if self._versions is not None:
                    opened.set_attribute("atlas.prompts", await self._versions.used(job.spec, asked_by))
            except BaseException:  # cancellation, too: nothing of it was sent, unless by an earlier attempt
                if row.fresh:
                    with anyio.CancelScope(shield=True):
                        async with self._record.jot(self._caller.id) as db:
                            await self._ledger.settle(db, reserved, _NOTHING)
                raise
            result = await self._run(job)
            self._record_usage(opened, job.spec, result)
            return result

    async def _prepared(
        self,
        begun: Begun,
        reserved: Reservation,
        tools: ToolSession | None,
        on_event: OnEvent | None,
        on_answer: OnAnswer | None,
    ) -> Job:
        row = begun.row
        spec = self._roster.agent(row.agent)
        kept = await self._keeper.agent(row.agent, kept=begun.kept)
        memory = self._blocks.of_turn(kept, row.id, again=not row.fresh)
        tools = tools or self._toolbox.session(spec, None, ToolTurn(row.id, reserved.run_id, on_event))
        job = Job(row, spec, kept, tools, memory, on_event, on_answer, reserved)
        if self._letta.kind != "embedded":  # it lets turns queue by itself, and compiles the prompt of each
            changed = begun.kept is None or begun.kept.fingerprint != kept.fingerprint
            job.others, job.outdated = begun.others, begun.outdated or changed or bool(begun.others)
        for limit in reserved.nearly:
            await job.warn(limit.text, limit.key)
        return job

    async def _run(self, job: Job) -> TurnResult:
        try:
            result = await self._in_time(job)
        except (BudgetSpent, _TookTooLong) as error:
            await self._stopped(job, str(error))
            raise
        except AtlasError as error:
            known = isinstance(error, NotBegun) or not isinstance(error, LettaUnavailable)
            if isinstance(error, ModelFailed) and self._ledger.is_over_in(job.reserved.run_id, error.retry_after):
                error.transient = False  # nobody can wait until then
            await self._ended(job, str(error), known=known, used=self._used(job, error) if known else None)
            raise
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await self._stopped(job, "cancelled")
            raise
        used, result = result.usage, await with_tools(result, job, self._caller, self._record, self._ledger)
        if job.on_answer:
            job.on_answer(result)
        async with self._record.jot(self._caller.id) as db:
            await turn_rows.finish(db, self._caller, result, job.letta_run)
            await self._ledger.settle(db, job.reserved, used)
        return result

    async def _in_time(self, job: Job) -> TurnResult:
        left, own = self._ledger.time_left(job.reserved.run_id), job.spec.turn_seconds
        with anyio.move_on_after(own if left is None or (own is not None and own < left) else left):
            return await self._answered(job)
        if own is not None and (left is None or own < left):
            raise _TookTooLong(f"{job.spec.name}'s turn took longer than its {own:g} seconds, and was given up.")
        raise self._ledger.out_of_time(job.reserved)

    async def _stopped(self, job: Job, why: str) -> None:
        """Note that the turn was stopped under way. What it cost is known only if nothing of it was begun."""
        unsent = job.letta_run is None
        known = unsent or self._letta.kind == "embedded"
        await self._ended(job, why, known=known, used=_NOTHING if unsent else None)

    async def _ended(self, job: Job, error: str, *, known: bool, used: Usage | None) -> None:
        """Note that the turn has no result, whether it is known that nothing of it runs any more, and what it cost.

        Where that is not known, what was reserved for it stands.
        """
        note = turn_rows.fail if known else turn_rows.doubt
        async with self._record.jot(self._caller.id) as db:
            await note(db, self._caller, job.row.id, job.row.conversation, error)
            if used is not None:
                await self._ledger.settle(db, job.reserved, used)

    def _used(self, job: Job, error: AtlasError) -> Usage:
        """What a turn that failed did cost, as far as Letta told."""
        if not isinstance(error, ModelFailed) or error.tokens == (0, 0):
            return _NOTHING
        used = self._usage(job.reserved.model, *error.tokens)
        error.usd = used.cost_usd
        return used

    async def _answered(self, job: Job) -> TurnResult:
        try:
            answer = await self._sent(job)
        except LettaLost:
            await self._replace_lost(job)
            async with self._locks.hold(turn_lock(job.spec.name, job.row.conversation)):
                answer = await self._sent(job)
        changes = await job.memory.changes(answer.tool_calls)
        handle = self._keeper.handle(job.spec)
        return TurnResult(
            turn_id=job.row.id,
            agent=job.spec.name,
            conversation=job.row.conversation,
            reply=answer.text,
            model=shown_model(handle),
            memory_changes=changes,
            usage=self._usage(handle, answer.input_tokens, answer.output_tokens),
        )

    async def _sent(self, job: Job) -> Answer:
        """The answer to the turn's message, which is sent unless it was sent before."""
        row = job.row
        await self._settle_others(job)
        if job.outdated:
            await self._letta.recompile(row.conversation)
        return await self._letta.send(
            row.conversation,
            row.message,
            otid=row.id,
            posted=not row.fresh,
            tools=job.offered,
            run_tool=job.call,
            on_run=job.note_run,
            on_call=job.tell_call,
        )

    async def _settle_others(self, job: Job) -> None:
        for other in job.others:
            await self._letta.settle(job.row.conversation, other)
            async with self._record.jot(self._caller.id) as db:
                await turn_rows.fail(db, self._caller, other, job.row.conversation, _UNKNOWN)

    async def _replace_lost(self, job: Job) -> None:
        """Put the agent or its conversation anew where Letta has lost it, and say so."""
        name = job.spec.name
        try:
            await self._letta.agent(job.kept.letta_id)
            text = f"Letta had lost the conversation with {name}; a new one was opened"
        except LettaLost:
            job.kept = await self._keeper.agent(name, lost=job.kept.letta_id)
            text = f"Letta had lost {name}; it was created anew, with its blocks as they were recorded last"
        log.warning(text)
        await job.tell("agent_recreated", text, "recreated")
        thread = await self._threads.replace(name, job.row.conversation)
        async with self._record.jot(self._caller.id) as db:
            await turn_rows.change(db, self._caller, job.row.id, conversation=thread)
        job.row = replace(job.row, conversation=thread, fresh=True)
        job.others, job.outdated = (), False
        job.memory = self._blocks.of_turn(job.kept, job.row.id, again=False)

    def _usage(self, handle: str, taken: int, given: int) -> Usage:
        cost = self._models.cost(handle, taken, given)
        return Usage(turns=1, input_tokens=taken, output_tokens=given, cost_usd=cost)

    def _record_usage(self, opened: Span, spec: AgentSpec, result: TurnResult) -> None:
        spans.outputs(opened, result.reply)
        used = result.usage
        spans.usage(
            opened,
            model=self._keeper.handle(spec),
            input_tokens=used.input_tokens,
            output_tokens=used.output_tokens,
            cost_usd=used.cost_usd,
        )

    @contextmanager
    def _marked_busy(self, agent: str) -> Generator[None]:
        marks = busy_marks(self._caller, agent)
        held = next((h for h in map(self._locks.try_hold, marks) if h), None)
        try:
            yield
        finally:
            if held:
                held.release()

    def _span(self, begun: Begun, run_id: str | None) -> AbstractContextManager[Span]:
        row, spec = begun.row, self._roster.agent(begun.row.agent)
        return spans.span(
            f"turn {row.agent}",
            kind="AGENT",
            inputs=row.message,
            session__id=spans.session_of(row.conversation),
            atlas__conversation=row.conversation,
            user__id=hashed_caller(self._caller.id),
            gen_ai__agent__name=row.agent,
            turn_id=row.id,
            atlas__agent=row.agent,
            atlas__team=spec.team,
            atlas__run=run_id,
            atlas__model=self._keeper.handle(spec),
            atlas__again=not row.fresh,
            atlas__waited_ms=round(1000 * begun.waited, 1),
        )


async def _nothing(db: AsyncConnection) -> None:
    """Nobody rides along."""


def _check_message(message: str) -> None:
    if not message.strip():
        raise InvalidInput("the message is empty.", argument="message", next_step="Say what the agent should do.")
    if len(message) > MAX_MESSAGE:
        step = "Hand long texts to run_team_task as materials."
        raise OverLimit("message", len(message), MAX_MESSAGE, next_step=step)
