"""Questions of runs: asked once, waited for without a slot or a process, answered once, safe at the deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import select, update

from atlas_mcp.errors import IllegalChange, InvalidInput, OverLimit, UnknownRun
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.question import Asking
from atlas_mcp.runs import RunOutcome
from atlas_mcp.runs.unfinished import has_unfinished
from atlas_mcp.store import tables
from tests.runs.test_processes import another, ended, looking

if TYPE_CHECKING:
    from atlas_mcp.model.run import Run
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
on_both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
DEADLINE = 60
ROAD = Asking(asked_by="guide", kind="choice", text="Left or right?", options=("left", "right"), safe="stop here")
PLAN = Asking(
    asked_by="atlas",
    kind="approval",
    text="Do it?",
    options=("approve", "reject"),
    words="what to change",
    safe="reject",
)
NAME = Asking(asked_by="guide", kind="text", text="What is its name?", words="the name", safe="unknown")


def asks(asking: Asking) -> Any:
    """An executor that asks and replies with the answer."""

    async def executor(run: RunContext) -> RunOutcome:
        return RunOutcome(reply=await run.ask(asking, key="it"))

    return executor


async def until_status(runs: Runs, me: Caller, run_id: str, status: str) -> Run:
    with anyio.fail_after(DEADLINE):
        since = 0
        while True:
            run = await runs.get(me, run_id, since=since, wait_seconds=5)
            if run.status == status:
                return await runs.get(me, run_id)
            since = run.events[-1].seq if run.events else since


async def end(runs: Runs, me: Caller, run_id: str) -> Run:
    with anyio.fail_after(DEADLINE):
        async for _ in runs.follow(run_id):
            pass
        return await runs.get(me, run_id)


async def pass_the_deadline(record: Record) -> None:
    """Let three days go by for every open question."""
    async with record.write() as db:
        await db.execute(update(tables.question).values(deadline=datetime.now(UTC) - timedelta(seconds=1)))


@on_both
async def test_a_run_waits_for_its_answer_and_goes_on_with_it(opening: Any, me: Caller, record: Record) -> None:
    async with opening(asks(ROAD)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        waiting = await until_status(runs, me, run_id, "awaiting_answer")
        listed, _ = await runs.list(me, status="awaiting_answer")
        async with record.read() as db:
            row = (await db.execute(select(tables.run).where(tables.run.c.id == run_id))).one()
        gone_on = await runs.answer(me, run_id, "right")
        run = await end(runs, me, run_id)
    assert waiting.question is not None
    assert (waiting.question.text, waiting.question.options) == ("Left or right?", ("left", "right"))
    assert waiting.question.deadline - waiting.updated_at == pytest.approx(
        timedelta(hours=72), abs=timedelta(minutes=1)
    )
    assert f'answer_run(run_id="{run_id}", answer="...")' in (waiting.note or "")
    assert "'left' or 'right'" in (waiting.note or "")
    assert [r.question for r in listed] == [waiting.question]
    assert (row.executor, row.attempts) == (None, 0), "it is nobody's, and the attempt is not counted"
    assert gone_on.status in ("working", "completed")
    assert (run.status, run.reply, run.question) == ("completed", "right", None)
    told = [e.type for e in run.events]
    assert told == ["run_queued", "run_started", "question_asked", "question_answered", "run_resumed", "run_completed"]


async def test_a_waiting_run_holds_no_slot(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        return RunOutcome(reply=await run.ask(ROAD, key="it") if run.input["asks"] else "free")

    async with opening(executor) as runs:
        waiting = [await runs.submit(me, "turn", "g", {"asks": True}) for _ in range(40)]
        for run_id in waiting:
            await until_status(runs, me, run_id, "awaiting_answer")
        run = await end(runs, me, await runs.submit(me, "turn", "g", {"asks": False}))
    assert run.reply == "free", "forty runs that wait, more than there are slots, keep nobody from working"


async def test_what_fits_is_taken_and_what_does_not_is_refused_with_what_would(opening: Any, me: Caller) -> None:
    async with opening(asks(PLAN)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        with pytest.raises(InvalidInput, match="Did you mean 'approve'") as close:
            await runs.answer(me, run_id, "aprove")
        with pytest.raises(InvalidInput, match="'approve' or 'reject' or, in words of your own, what to change"):
            await runs.answer(me, run_id, "yes")
        with pytest.raises(InvalidInput, match="empty"):
            await runs.answer(me, run_id, "  ")
        with pytest.raises(OverLimit):
            await runs.answer(me, run_id, "no " * 10_000)
        still = await runs.get(me, run_id)
        await runs.answer(me, run_id, " Approve. ")
        run = await end(runs, me, run_id)
    assert close.value.allowed == ("approve", "reject")
    assert still.status == "awaiting_answer"
    assert run.reply == "approve"


@pytest.mark.parametrize(("asking", "answer"), [(PLAN, "leave the web out"), (NAME, "Fresnel")])
async def test_words_of_ones_own_are_taken_where_the_question_takes_them(
    opening: Any, me: Caller, asking: Asking, answer: str
) -> None:
    async with opening(asks(asking)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        await runs.answer(me, run_id, answer)
        assert (await end(runs, me, run_id)).reply == answer


async def test_a_second_answer_changes_nothing_and_says_so(opening: Any, me: Caller) -> None:
    async with opening(asks(ROAD)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        await runs.answer(me, run_id, "left")
        run = await end(runs, me, run_id)
        again = await runs.answer(me, run_id, "right")
    assert "nothing was changed" in (again.note or "")
    assert (again.reply, len(again.events)) == ("left", len(run.events))


@on_both
async def test_an_answer_to_one_question_is_never_taken_for_the_next(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        first = await run.ask(ROAD, key="first")
        return RunOutcome(reply=f"{first}, {await run.ask(ROAD, key='second')}")

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        first = (await until_status(runs, me, run_id, "awaiting_answer")).question
        assert first is not None
        await runs.answer(me, run_id, "left", question_id=first.id)
        second = (await until_status(runs, me, run_id, "awaiting_answer")).question
        assert second is not None
        late = await runs.answer(me, run_id, "left", question_id=first.id)
        assert "answered before" in (late.note or "")
        assert late.status == "awaiting_answer"
        await runs.answer(me, run_id, "right", question_id=second.id)
        assert (await end(runs, me, run_id)).reply == "left, right"


async def test_a_run_that_asks_nothing_says_so(opening: Any, me: Caller) -> None:
    go = anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        await go.wait()
        return RunOutcome(reply="done")

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with pytest.raises(IllegalChange, match="this run asks nothing"):
            await runs.answer(me, run_id, "left")
        go.set()
        await end(runs, me, run_id)


async def test_the_run_of_another_caller_is_not_found_and_not_answered(opening: Any, me: Caller) -> None:
    stranger = Caller(id="local:other")
    async with opening(asks(ROAD)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        with pytest.raises(UnknownRun) as hidden:
            await runs.answer(stranger, run_id, "left")
        with pytest.raises(UnknownRun) as absent:
            await runs.answer(stranger, "run_none", "left")
        assert str(hidden.value) == str(absent.value).replace("run_none", run_id), "nothing tells that it exists"
        assert (await runs.get(me, run_id)).status == "awaiting_answer"


@on_both
async def test_a_waiting_run_can_be_cancelled_and_then_takes_no_answer(
    opening: Any, me: Caller, record: Record
) -> None:
    async with opening(asks(ROAD)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        cancelled = await runs.cancel(me, run_id)
        answered = await runs.answer(me, run_id, "left")
        await pass_the_deadline(record)
        await runs.submit(me, "turn", "another", {})
        other = await until_status(runs, me, (await runs.list(me))[0][0].run_id, "awaiting_answer")
        run = await runs.get(me, run_id)
    assert (cancelled.status, cancelled.question) == ("cancelled", None)
    assert "cancelled before" in (answered.note or "")
    assert other.question is not None
    assert run.events == cancelled.events


@on_both
async def test_at_the_deadline_the_safe_answer_is_taken_and_the_journal_says_so(
    opening: Any, me: Caller, record: Record
) -> None:
    async with opening(asks(ROAD)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        await pass_the_deadline(record)
        run = await end(runs, me, run_id)
        late = await runs.answer(me, run_id, "left")
    assert run.reply == "stop here"
    [expired] = [e for e in run.events if e.type == "question_expired"]
    assert expired.actor == "atlas"
    assert "the safe answer is taken: stop here" in expired.text
    assert "nothing was changed" in (late.note or "")


@on_both
async def test_a_question_that_is_put_stops_nobody_and_its_answer_may_come_first(opening: Any, me: Caller) -> None:
    answered = anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        assert await run.put(ROAD, key="it")
        assert await run.put(ROAD, key="it"), "the same key is the same question"
        await answered.wait()
        return RunOutcome(reply=await run.ask(ROAD, key="it"))

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            while (asked := await runs.get(me, run_id, since=2, wait_seconds=5)).question is None:
                pass
        assert asked.status == "working"
        assert "It asks a question" in (asked.note or "")
        assert "It goes on without this call" in (asked.note or "")
        assert (await runs.answer(me, run_id, "left")).status == "working"
        answered.set()
        run = await end(runs, me, run_id)
    assert run.reply == "left"
    assert [e.type for e in run.events].count("question_asked") == 1
    assert "run_resumed" not in [e.type for e in run.events], "it never waited"


@on_both
async def test_a_run_with_two_open_questions_goes_on_with_the_last_answer(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        await run.put(ROAD, key="road")
        await run.put(NAME, key="name")
        return RunOutcome(reply=f"{await run.ask(NAME, key='name')} {await run.ask(ROAD, key='road')}")

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        waiting = await until_status(runs, me, run_id, "awaiting_answer")
        assert waiting.question is not None
        assert waiting.question.text == ROAD.text, "the oldest is shown"
        between = await runs.answer(me, run_id, "left")
        assert between.status == "awaiting_answer"
        assert between.question is not None
        assert between.question.text == NAME.text
        await runs.answer(me, run_id, "Argand")
        assert (await end(runs, me, run_id)).reply == "Argand left"


async def test_agents_can_put_only_so_many_questions(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        await run.put(PLAN, key="ours")
        put = [await run.put(NAME, key=f"n{n}", most=2) for n in range(3)]
        return RunOutcome(reply=str(put))

    async with opening(executor) as runs:
        assert (await end(runs, me, await runs.submit(me, "turn", "g", {}))).reply == "[True, True, False]"


async def test_who_is_handed_the_outcome_is_not_kept_waiting_by_a_question(opening: Any, me: Caller) -> None:
    from atlas_mcp.runs.changes import Entry

    def begun(_: str) -> Entry:
        return Entry("guide", "turn_started", "begins", "t1")

    async with opening(asks(ROAD)) as runs:
        with anyio.fail_after(DEADLINE):
            asked = await runs.ask(me, "turn", "g", {}, wait_seconds=DEADLINE, first=begun)
        assert asked.outcome is None
        assert (await runs.get(me, asked.run_id)).status == "awaiting_answer"
        await runs.answer(me, asked.run_id, "left")
        assert (await end(runs, me, asked.run_id)).reply == "left"


async def test_a_run_that_is_deleted_leaves_no_question(opening: Any, me: Caller, record: Record) -> None:
    async with opening(asks(ROAD)) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        await until_status(runs, me, run_id, "awaiting_answer")
        with pytest.raises(IllegalChange):
            await runs.forget(me, run_id)
        await runs.answer(me, run_id, "left")
        await end(runs, me, run_id)
        await runs.forget(me, run_id)
        async with record.read() as db:
            assert (await db.execute(select(tables.question))).all() == []


@on_both
async def test_the_answer_comes_after_the_asking_process_was_killed(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs:
        async with another(opened_home) as first:
            run_id = await first.submit(steps=4, ask_in=3)
            await until_status(runs, Caller(id="local:me"), run_id, "awaiting_answer")
            await first.killed()
        answered = await runs.answer(Caller(id="local:me"), run_id, "left")
        assert answered.status == "working"
        async with another(opened_home) as second:
            assert (await second.hears("heard"))["answer"] == "left"
            run = await ended(runs, run_id)
            assert await second.leaves() == 0
    assert (run.status, run.usage.turns) == ("completed", 4)
    finished = [e.turn_id for e in run.events if e.type == "turn_finished"]
    assert finished == ["t1", "t2", "t3", "t4"], "what was done before the question is not done again"


async def test_the_next_server_opens_a_record_in_which_a_run_waits(opening: Any, me: Caller, opened_home: Home) -> None:
    async with opening(asks(ROAD)) as runs:
        await until_status(runs, me, await runs.submit(me, "turn", "g", {}), "awaiting_answer")
    assert has_unfinished(opened_home.record), "somebody must be there at the deadline"


@on_both
async def test_nobody_lives_while_the_deadline_passes_and_the_next_process_takes_the_safe_answer(
    opened_home: Home, record: Record
) -> None:
    async with another(opened_home) as first:
        run_id = await first.submit(steps=2, ask_in=2)
        async with looking(opened_home, record) as runs:
            await until_status(runs, Caller(id="local:me"), run_id, "awaiting_answer")
        await first.killed()
    await pass_the_deadline(record)
    async with another(opened_home) as second:
        assert (await second.hears("heard"))["answer"] == "stop"
        async with looking(opened_home, record) as runs:
            run = await ended(runs, run_id)
    assert run.status == "completed"
    assert [e.type for e in run.events].count("question_expired") == 1


@on_both
async def test_of_two_simultaneous_answers_from_two_processes_one_wins(opened_home: Home, record: Record) -> None:
    async with looking(opened_home, record) as runs, another(opened_home) as one, another(opened_home) as two:
        for _ in range(5):
            run_id = await one.submit(steps=1, ask_in=1)
            await until_status(runs, Caller(id="local:me"), run_id, "awaiting_answer")
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(partial(one.told, "answer", run_id=run_id, answer="left"))
                tasks.start_soon(partial(two.told, "answer", run_id=run_id, answer="right"))
            notes = [(await each.hears("answered"))["note"] or "" for each in (one, two)]
            run = await ended(runs, run_id)
            refused = ["nothing was changed" in note for note in notes]
            assert sorted(refused) == [False, True]
            winner = "right" if refused[0] else "left"
            assert await runs.load(Caller(id="local:me"), run_id, "answer") == winner
            assert [e.type for e in run.events].count("question_answered") == 1
