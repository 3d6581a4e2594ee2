"""Runs within one process: stored, executed, followed, listed, cancelled, and left for later."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import StatementError

from atlas_mcp.errors import IllegalChange, InvalidInput, ModelFailed, RunLost, UnknownRun
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.plan import Part, Plan
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import Progress
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import RunOutcome, runner
from atlas_mcp.runs.changes import Entry, Kept, Spent
from atlas_mcp.runs.runner import MAX_RUNS
from atlas_mcp.runs.unfinished import has_unfinished
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
DEADLINE = 60


async def ended(runs: Runs, me: Caller, run_id: str) -> Any:
    with anyio.fail_after(DEADLINE):
        async for _ in runs.follow(run_id):
            pass
        return await runs.get(me, run_id)


class Gate:
    """An executor that waits until it is opened, and tells when it has begun and how it stopped."""

    def __init__(self) -> None:
        self.begun = anyio.Event()
        self.open = anyio.Event()
        self.stopped = anyio.Event()

    async def __call__(self, run: RunContext) -> RunOutcome:
        self.begun.set()
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.stopped.set()
            raise
        return RunOutcome(reply="through")


async def test_a_run_ends_with_what_its_executor_gave(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        assert (run.caller, run.input, run.resumed, run.attempt) == (me, {"question": "why"}, False, 1)
        await run.set_plan(Plan(parts=(Part(id="a", team="research", task="look"),)))
        await run.set_progress(1, 2, "looking")
        await run.emit("librarian", "turn_started", "The librarian looks.", turn_id="t1", words=3)
        return RunOutcome(reply="because", result=Result(output="all of it"), note="It was easy.")

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "Find out", {"question": "why"})
        run = await ended(runs, me, run_id)
    assert run_id.startswith("run_")
    assert (run.run_id, run.status, run.goal, run.kind) == (run_id, "completed", "Find out", "turn")
    assert (run.reply, run.result.output, run.note, run.error) == ("because", "all of it", "It was easy.", None)
    assert run.plan.parts[0].team == "research"
    assert (run.progress.done, run.progress.total, run.progress.text) == (1, 2, "completed")
    assert [e.type for e in run.events] == ["run_queued", "run_started", "turn_started", "run_completed"]
    assert [e.seq for e in run.events] == [1, 2, 3, 4]
    turn = run.events[2]
    assert (turn.actor, turn.text, turn.turn_id, turn.data) == ("librarian", "The librarian looks.", "t1", {"words": 3})


async def test_a_handle_says_the_next_call(opening: Any, me: Caller) -> None:
    gate = Gate()
    async with opening(gate) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        assert f'call get_run(run_id="{run_id}").' in ((await runs.get(me, run_id)).note or "")
        gate.open.set()
        assert (await ended(runs, me, run_id)).note is None


async def test_waiting_ends_with_the_first_news(opening: Any, me: Caller) -> None:
    go = anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        await go.wait()
        await run.emit("writer", "turn_started", "The writer begins.")
        await anyio.sleep_forever()
        return RunOutcome()

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        async with anyio.create_task_group() as tasks:

            async def ask() -> None:
                with anyio.fail_after(DEADLINE):
                    run = await runs.get(me, run_id, since=2, wait_seconds=60)
                assert [(e.seq, e.type) for e in run.events] == [(3, "turn_started")]

            tasks.start_soon(ask)
            with anyio.fail_after(DEADLINE):
                await runs.get(me, run_id, since=1, wait_seconds=60)
            go.set()


async def test_waiting_ends_when_the_time_is_over(opening: Any, me: Caller) -> None:
    gate = Gate()
    async with opening(gate) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await gate.begun.wait()
            run = await runs.get(me, run_id, since=2, wait_seconds=0.01)
    assert (run.status, run.events) == ("working", [])


async def test_events_have_no_gaps_when_fifty_are_written_at_once(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(run.emit, "worker", "note", f"number {number}")
        return RunOutcome()

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        followed = [event async for event in runs.follow(run_id)]
        run = await runs.get(me, run_id)
    assert [e.seq for e in run.events] == list(range(1, 54))
    assert followed == run.events
    assert {e.text for e in run.events} >= {f"number {n}" for n in range(50)}


async def test_what_has_a_key_counts_once(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        first = await run.emit("a", "turn_finished", "done", key="t1")
        assert await run.emit("a", "turn_finished", "done again", key="t1") == first
        for key in ("t1", "t1", "t2", None):
            await run.add_usage(Usage(turns=1, input_tokens=10, cost_usd=0.5), key=key)
        return RunOutcome()

    async with opening(executor) as runs:
        run = await ended(runs, me, await runs.submit(me, "turn", "g", {}))
    assert Counter(e.type for e in run.events)["turn_finished"] == 1
    assert run.usage == Usage(turns=3, input_tokens=30, cost_usd=1.5)


async def test_artifacts_are_kept_by_name(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        assert await run.load("draft") is None
        await run.save("draft", "one")
        await run.save("draft", "two")
        return RunOutcome(reply=await run.load("draft"))

    async with opening(executor) as runs:
        runs_of_it = [await ended(runs, me, await runs.submit(me, "turn", "g", {})) for _ in range(2)]
    assert [r.reply for r in runs_of_it] == ["two", "two"]


async def test_an_error_of_ours_fails_the_run_with_its_text(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        await run.set_result(Result(output="half of it"))
        async with anyio.create_task_group():
            raise ModelFailed("the model is tired.", next_step="Let it sleep.")
        return RunOutcome()

    async with opening(executor) as runs:
        run = await ended(runs, me, await runs.submit(me, "turn", "g", {}))
    assert (run.status, run.error) == ("failed", "the model is tired. Let it sleep.")
    assert (run.events[-1].type, run.events[-1].text) == ("run_failed", run.error)
    assert run.result.output == "half of it"


async def test_an_unexpected_error_is_named_and_logged_but_not_shown(
    opening: Any, me: Caller, caplog: pytest.LogCaptureFixture
) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        raise KeyError("/somewhere/secret")

    async with opening(executor) as runs:
        run = await ended(runs, me, await runs.submit(me, "turn", "g", {}))
    assert (run.status, run.error) == ("failed", "unexpected error: KeyError")
    assert "secret" not in run.model_dump_json()
    assert "/somewhere/secret" in caplog.text


async def test_a_cancelled_run_stops_and_keeps_what_was_done(opening: Any, me: Caller) -> None:
    begun, stopped = anyio.Event(), anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        await run.add_usage(Usage(turns=1), key="t1")
        await run.set_progress(1, 4, "going on")
        begun.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            await asyncio.shield(run.set_result(Result(output="a quarter")))
            with pytest.raises(RunLost):
                await run.emit("a", "note", "too late")
            stopped.set()
            raise
        return RunOutcome()

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await begun.wait()
        run = await runs.cancel(me, run_id)
        assert (run.status, run.progress.text, run.note) == ("cancelled", "cancelled", None)
        assert run.events[-1].text == "Cancelled. 1 of 4 turns were done; what they gave is kept."
        with anyio.fail_after(DEADLINE):
            await stopped.wait()
        again = await runs.cancel(me, run_id)
    assert again.events == run.events
    assert again.updated_at == run.updated_at, "it ended when it was cancelled"
    assert (again.usage.turns, again.result and again.result.output) == (1, "a quarter")


async def test_a_run_that_has_ended_is_not_cancelled(opening: Any, me: Caller) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        return RunOutcome(reply="done")

    async with opening(executor) as runs:
        before = await ended(runs, me, await runs.submit(me, "turn", "g", {}))
        after = await runs.cancel(me, before.run_id)
    assert after.note == "It had completed before: nothing was changed."
    assert after.model_copy(update={"note": None}) == before


async def test_of_cancellations_at_once_one_is_told(opening: Any, me: Caller) -> None:
    gate = Gate()
    async with opening(gate) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await gate.begun.wait()
            async with anyio.create_task_group() as group:
                for _ in range(5):
                    group.start_soon(runs.cancel, me, run_id)
            await gate.stopped.wait()
        run = await runs.get(me, run_id)
    assert [e.type for e in run.events] == ["run_queued", "run_started", "run_cancelled"]


async def test_a_run_of_another_caller_does_not_exist(opening: Any, me: Caller) -> None:
    other = Caller(id="key:other", kind="key")
    gate = Gate()
    async with opening(gate) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        for attempt in (runs.get(other, run_id), runs.cancel(other, run_id), runs.get(me, "run_none")):
            with pytest.raises(UnknownRun):
                await attempt
        assert await runs.list(other) == ([], None)
        gate.open.set()
        assert (await ended(runs, me, run_id)).status == "completed"


async def test_runs_are_listed_newest_first_page_by_page(opening: Any, me: Caller) -> None:
    gate = Gate()
    async with opening(gate) as runs:
        made = [await runs.submit(me, "turn", f"goal {n}", {}) for n in range(5)]
        await runs.cancel(me, made[1])
        seen: list[str] = []
        cursor = None
        while True:
            page, cursor = await runs.list(me, limit=2, cursor=cursor)
            assert len(page) <= 2
            assert all(r.events == [] for r in page)
            seen += [r.run_id for r in page]
            if cursor is None:
                break
        assert seen == made[::-1]
        assert [r.run_id for r in (await runs.list(me, status="cancelled"))[0]] == [made[1]]


@pytest.mark.parametrize("cursor", ["", "nonsense", "W10", "WyIyMDI2LTAxLTAxIiwgInJ1bl94Il0", "äöü"])
async def test_a_cursor_of_ones_own_making_is_refused(opening: Any, me: Caller, cursor: str) -> None:
    async with opening(Gate()) as runs:
        with pytest.raises(InvalidInput) as refused:
            await runs.list(me, cursor=cursor)
    assert refused.value.argument == "cursor"


@pytest.mark.parametrize(("argument", "value"), [("limit", 0), ("limit", 101), ("status", "sleeping")])
async def test_a_list_says_what_it_cannot_use(opening: Any, me: Caller, argument: str, value: Any) -> None:
    async with opening(Gate()) as runs:
        with pytest.raises(InvalidInput) as refused:
            await runs.list(me, **{argument: value})
    assert refused.value.argument == argument


async def test_no_more_runs_work_at_once_than_there_are_slots(opening: Any, me: Caller) -> None:
    working, most, full, go = 0, 0, anyio.Event(), anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        nonlocal working, most
        working += 1
        most = max(most, working)
        if working == MAX_RUNS:
            full.set()
        await go.wait()
        working -= 1
        return RunOutcome()

    async with opening(executor) as runs:
        made = [await runs.submit(me, "turn", "g", {}) for _ in range(MAX_RUNS + 4)]
        with anyio.fail_after(DEADLINE):
            await full.wait()
        waiting, _ = await runs.list(me, status="queued")
        assert len(waiting) == 4
        go.set()
        assert {(await ended(runs, me, run_id)).status for run_id in made} == {"completed"}
    assert most == MAX_RUNS


async def test_a_run_without_its_key_waits_for_a_process_that_has_it(opening: Any, me: Caller) -> None:
    gate = Gate()
    gate.open.set()
    async with opening(gate, providers=["openai"]) as runs:
        run_id = await runs.submit(me, "turn", "g", {}, needs=["openai", "anthropic"])
        run = await runs.get(me, run_id, since=1, wait_seconds=0.01)
        assert run.status == "queued"
        assert "a key for 'anthropic'" in (run.note or "")
        assert f'call get_run(run_id="{run_id}")' in (run.note or "")
    async with opening(gate, providers=["anthropic", "openai"]) as runs:
        assert (await ended(runs, me, run_id)).reply == "through"


async def test_a_run_that_is_left_goes_on_in_the_next_runs_and_counts_no_death(opening: Any, me: Caller) -> None:
    attempts: list[tuple[bool, int]] = []
    begun = anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        attempts.append((run.resumed, run.attempt))
        step = len(attempts)
        await run.emit("worker", "step", f"step {step}", key=f"s{step}")
        begun.set()
        if step < 5:
            await anyio.sleep_forever()
        return RunOutcome(reply="at last")

    run_id = ""
    for _ in range(4):
        begun = anyio.Event()
        async with opening(executor) as runs:
            run_id = run_id or await runs.submit(me, "turn", "g", {})
            with anyio.fail_after(DEADLINE):
                await begun.wait()
            assert (await runs.get(me, run_id)).status == "working"
    async with opening(executor) as runs:
        run = await ended(runs, me, run_id)
    assert (run.status, run.reply) == ("completed", "at last")
    assert attempts == [(False, 1), *[(True, 1)] * 4]
    assert [e.seq for e in run.events] == list(range(1, len(run.events) + 1))


async def test_who_lost_the_run_can_write_nothing_and_is_stopped(opening: Any, me: Caller, record: Record) -> None:
    begun, go, stopped = anyio.Event(), anyio.Event(), anyio.Event()
    refused: list[Any] = []

    async def executor(run: RunContext) -> RunOutcome:
        async def attempts() -> None:
            await go.wait()
            writes = (run.emit("a", "b", "c"), run.save("a", "b"), run.set_progress(1, 1, ""), run.add_usage(Usage()))
            refused.extend(await asyncio.gather(*writes, return_exceptions=True))

        begun.set()
        trying = asyncio.create_task(attempts())
        try:
            await anyio.sleep_forever()
        finally:
            await asyncio.wait({trying})
            stopped.set()
        return RunOutcome()

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await begun.wait()
            async with record.write() as connection:
                # The other one's kind is unknown here, so that it is not taken back at once.
                await connection.execute(update(tables.run).values(executor="somebody else", kind="team_task"))
            go.set()
            await stopped.wait()
        run = await runs.get(me, run_id)
    assert [type(error) for error in refused] == [RunLost] * 4
    assert (run.status, run.reply, [e.type for e in run.events]) == ("working", None, ["run_queued", "run_started"])


async def test_an_executor_that_is_cancelled_in_the_middle_of_writing_locks_nobody_out(
    opening: Any, me: Caller
) -> None:
    async def executor(run: RunContext) -> RunOutcome:
        for number in range(40):
            task = asyncio.create_task(run.emit("a", "note", str(number)))
            for _ in range(number):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
        return RunOutcome(reply="still there")

    async with opening(executor) as runs:
        run = await ended(runs, me, await runs.submit(me, "turn", "g", {}))
    assert run.reply == "still there"
    assert [e.seq for e in run.events] == list(range(1, len(run.events) + 1))


async def test_an_error_in_the_body_comes_out_as_it_is_and_the_loop_is_left_usable(opening: Any, me: Caller) -> None:
    async def body() -> None:
        async with opening(Gate()) as runs:
            run_id = await runs.submit(me, "turn", "g", {})
            with anyio.fail_after(DEADLINE):
                await runs.get(me, run_id, since=1, wait_seconds=60)
            raise LookupError("of the body")

    with pytest.raises(LookupError, match="of the body"):
        await body()
    assert await asyncio.to_thread(lambda: 7) == 7


async def test_the_engines_database_keeps_nothing_of_runs_that_are_over(
    opening: Any, opened_home: Any, me: Caller
) -> None:
    from sqlalchemy import create_engine, text

    async def executor(run: RunContext) -> RunOutcome:
        return RunOutcome()

    async with opening(executor) as runs:
        await ended(runs, me, await runs.submit(me, "turn", "g", {}))
    engine = create_engine(f"sqlite:///{opened_home.engine}")
    with engine.connect() as connection:
        assert connection.execute(text("select count(*) from workflow_status")).scalar() == 0
        assert connection.execute(text("pragma journal_mode")).scalar() == "wal"
    engine.dispose()


async def test_an_ended_run_can_be_forgotten_with_all_it_kept(
    opening: Any, opened_home: Any, me: Caller, record: Record
) -> None:
    other = Caller(id="key:other", kind="key")
    gate = Gate()

    async def executor(run: RunContext) -> RunOutcome:
        await run.save("turn", "kept")
        return await gate(run)

    assert not has_unfinished(opened_home.path / "no record")
    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await gate.begun.wait()
        assert has_unfinished(opened_home.record)
        assert (await runs.count_open(me), await runs.count_open(other)) == (1, 0)
        with pytest.raises(IllegalChange):
            await runs.forget(me, run_id)
        gate.open.set()
        await ended(runs, me, run_id)
        assert not has_unfinished(opened_home.record)
        assert await runs.load(me, run_id, "turn") == "kept"
        assert await runs.load(me, run_id, "other") is None
        for foreign in (runs.load(other, run_id, "turn"), runs.forget(other, run_id)):
            with pytest.raises(UnknownRun):
                await foreign
        await runs.forget(me, run_id)
        with pytest.raises(UnknownRun):
            await runs.get(me, run_id)
    async with record.read() as connection:
        for table in (tables.run, tables.event, tables.artifact):
            assert (await connection.execute(select(table))).all() == []


async def test_an_executor_that_does_not_stop_holds_nobody_up(
    opening: Any, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "GRACE", 0.1)
    begun, go, gone = anyio.Event(), asyncio.Event(), anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        begun.set()
        while not go.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await go.wait()
        with pytest.raises(RunLost):
            await run.emit("a", "note", "still here")
        gone.set()
        return RunOutcome()

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await begun.wait()
    async with opening(Gate()) as runs:
        assert (await runs.cancel(me, run_id)).status == "cancelled"
        go.set()
        with anyio.fail_after(DEADLINE):
            await gone.wait()


async def test_a_second_engine_in_one_python_process_is_refused_and_the_first_goes_on(opening: Any, me: Caller) -> None:
    gate = Gate()
    async with opening(gate) as first:
        going_on = await first.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await gate.begun.wait()
        async with opening(gate) as second:
            refused = await ended(second, me, await second.submit(me, "turn", "g", {}))
        assert (refused.status, (refused.error or "")[:25]) == ("failed", "DBOS is already in use in")
        gate.open.set()
        assert (await ended(first, me, going_on)).reply == "through"


def test_importing_the_room_loads_no_database() -> None:
    heavy = "{'sqlalchemy', 'dbos', 'alembic', 'langgraph'}"
    program = f"import sys, atlas_mcp.runs; sys.exit(bool({heavy} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


async def test_ids_cannot_be_guessed(opening: Any, me: Caller, record: Record) -> None:
    async with opening(Gate(), providers=[]) as runs:
        made = {await runs.submit(me, "turn", "g", {}, needs=["none"]) for _ in range(50)}
    assert len(made) == 50
    assert {len(run_id) for run_id in made} == {24}
    async with record.read() as connection:
        assert set((await connection.execute(select(tables.run.c.id))).scalars()) == made


async def test_a_step_is_one_transaction_with_its_events_in_order_and_its_keys_once(opening: Any, me: Caller) -> None:
    told: list[list[int]] = []

    async def executor(run: RunContext) -> RunOutcome:
        step = (
            Entry("a", "first", "one", key="1"),
            Spent(Usage(turns=1, input_tokens=10), "turn-1"),
            Kept("text", "old"),
            Progress(done=1, total=2, text="half"),
            Entry("a", "second", "two", key="2"),
        )
        told.append([e.seq for e in await run.write(*step)])
        told.append([e.seq for e in await run.write(*step, Entry("a", "third", "three"), Kept("text", "new"))])
        with pytest.raises(StatementError):
            await run.write(Kept("never", "x"), Entry("a", "never", "x", data={"not": object()}))
        assert await run.load("never") is None
        return RunOutcome(reply=await run.load("text"))

    async with opening(executor) as runs:
        run = await ended(runs, me, await runs.submit(me, "turn", "g", {}))
    assert told == [[3, 4], [3, 4, 5]]
    assert (run.reply, run.usage.turns, run.usage.input_tokens) == ("new", 1, 10)
    assert (run.progress.done, run.progress.total) == (1, 2)
    assert [e.type for e in run.events][2:5] == ["first", "second", "third"]


async def test_of_a_step_after_the_cancellation_only_what_was_done_and_spent_is_kept(opening: Any, me: Caller) -> None:
    begun, stopped = anyio.Event(), anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        begun.set()
        try:
            await anyio.sleep_forever()
        except asyncio.CancelledError:
            where = Kept("node/a", "{}", passing=True)
            with pytest.raises(RunLost):
                await run.write(Entry("a", "late", "x"), Spent(Usage(turns=1), "turn-1"), Kept("text", "done"), where)
            stopped.set()
            raise
        return RunOutcome()

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await begun.wait()
            before = await runs.cancel(me, run_id)
            await stopped.wait()
        run = await runs.get(me, run_id)
        assert await runs.load(me, run_id, "text") == "done"
        assert await runs.load(me, run_id, "node/a") is None
    assert run.usage.turns == 1
    assert run.events == before.events
