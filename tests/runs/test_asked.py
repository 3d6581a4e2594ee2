"""Runs that somebody waits for: begun at once, handed over when they end well, and kept in every other case."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import func, select

from atlas_mcp.errors import InvalidInput, UnknownRun
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import RunOutcome
from atlas_mcp.runs.changes import Entry, Kept, Spent
from atlas_mcp.runs.runner import MAX_RUNS
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Event
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.runs import Runs

pytestmark = pytest.mark.anyio
DEADLINE = 60.0
ANSWER = (
    Spent(Usage(turns=1), "t1"),
    Kept("turn", "the whole answer"),
    Entry("librarian", "turn_finished", "The librarian answered.", "t1", key="finished"),
)


def first(run_id: str) -> Entry:
    """What is stored with a run that begins at once."""
    return Entry("librarian", "turn_started", f"The librarian thinks of {run_id}.", "t1", key="started")


async def answer(run: RunContext) -> RunOutcome:
    """Answer at once."""
    if run.opening is None:
        await run.write(first(run.run_id))
    return RunOutcome(reply="hello", changes=ANSWER)


async def ask(runs: Runs, me: Caller, **options: Any) -> Any:
    with anyio.fail_after(DEADLINE):
        return await runs.ask(me, "turn", "Say hello", {}, **{"wait_seconds": DEADLINE, "first": first, **options})


async def ended(runs: Runs, me: Caller, run_id: str) -> Any:
    with anyio.fail_after(DEADLINE):
        async for _ in runs.follow(run_id):
            pass
        return await runs.get(me, run_id)


async def test_what_is_waited_for_is_handed_over_and_nothing_of_it_is_kept(opening: Any, me: Caller) -> None:
    async with opening(answer) as runs:
        asked = await ask(runs, me)
        assert (asked.outcome.reply, asked.outcome.kept("turn")) == ("hello", "the whole answer")
        with pytest.raises(UnknownRun):
            await runs.get(me, asked.run_id)
        assert (await runs.list(me))[0] == []


async def test_what_takes_longer_than_it_is_waited_for_goes_on_and_keeps_everything(opening: Any, me: Caller) -> None:
    go_on = anyio.Event()

    async def slow(run: RunContext) -> RunOutcome:
        await go_on.wait()
        return await answer(run)

    async with opening(slow) as runs:
        asked = await ask(runs, me, wait_seconds=0)
        assert asked.outcome is None
        assert (await runs.get(me, asked.run_id)).status == "working"
        go_on.set()
        run = await ended(runs, me, asked.run_id)
        assert (run.status, run.reply, run.usage.turns) == ("completed", "hello", 1)
        assert await runs.load(me, asked.run_id, "turn") == "the whole answer"
    told = ["run_queued", "run_started", "turn_started", "turn_finished", "run_completed"]
    assert [e.type for e in run.events] == told
    assert [e.seq for e in run.events] == [1, 2, 3, 4, 5]


async def test_one_who_stops_waiting_leaves_the_run_to_go_on(opening: Any, me: Caller) -> None:
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow(run: RunContext) -> RunOutcome:
        begun.set()
        await go_on.wait()
        return await answer(run)

    async with opening(slow) as runs:
        asking = asyncio.create_task(ask(runs, me))
        with anyio.fail_after(DEADLINE):
            await begun.wait()
        asking.cancel()
        await asyncio.wait({asking})
        go_on.set()
        [run] = (await runs.list(me))[0]
        assert (await ended(runs, me, run.run_id)).reply == "hello"


async def test_what_is_refused_before_it_began_leaves_nothing(opening: Any, me: Caller) -> None:
    async def refusing(run: RunContext) -> RunOutcome:
        raise InvalidInput("that is nothing to say hello to.")

    async with opening(refusing) as runs:
        with pytest.raises(InvalidInput, match="nothing to say hello to"):
            await ask(runs, me)
        assert (await runs.list(me))[0] == []


async def test_what_is_refused_while_it_is_being_stored_fails_and_is_not_taken_up_again(
    opening: Any, me: Caller
) -> None:
    attempts: list[int] = []

    async def refusing(run: RunContext) -> RunOutcome:
        attempts.append(run.attempt)
        assert run.opening is not None
        if len(attempts) == 1:
            async with runs._record.write():  # pyright: ignore[reportPrivateUsage]
                storing.append(asyncio.create_task(run.opening.now()))
                await asyncio.sleep(0)
            raise InvalidInput("that is nothing to say hello to.")
        return await answer(run)

    storing: list[asyncio.Task[None]] = []
    async with opening(refusing) as runs:
        asked = await ask(runs, me)
        await storing[0]
        run = await ended(runs, me, asked.run_id)
        assert (run.status, run.error) == ("failed", "that is nothing to say hello to.")
    assert attempts == [1]


async def test_it_is_stored_in_one_transaction_with_what_its_work_begins_with(opening: Any, me: Caller) -> None:
    seen: list[int] = []

    async def begins(run: RunContext) -> RunOutcome:
        assert run.opening is not None
        assert not run.opening.stored
        async with run.opening.riding() as along, runs._record.write() as db:  # pyright: ignore[reportPrivateUsage]
            await along(db)
            seen.extend((await db.execute(select(func.count()).select_from(tables.run))).scalars())
        assert run.opening.stored
        return await answer(run)

    async with opening(begins) as runs:
        assert (await ask(runs, me)).outcome.reply == "hello"
        assert (await runs.list(me))[0] == []
    assert seen == [1]


async def test_a_transaction_that_fails_takes_it_along_and_the_next_one_stores_it(opening: Any, me: Caller) -> None:
    go_on = anyio.Event()

    async def stumbles(run: RunContext) -> RunOutcome:
        assert run.opening is not None
        try:
            async with run.opening.riding() as along, runs._record.write() as db:  # pyright: ignore[reportPrivateUsage]
                await along(db)
                raise OSError("full")
        except OSError:
            pass
        assert not run.opening.stored
        await go_on.wait()
        return await answer(run)

    async with opening(stumbles) as runs:
        asked = await ask(runs, me, wait_seconds=0)
        assert (await runs.get(me, asked.run_id)).status == "working"
        go_on.set()
        assert (await ended(runs, me, asked.run_id)).reply == "hello"


async def test_a_commit_that_was_made_although_it_was_cancelled_stores_the_run_once(opening: Any, me: Caller) -> None:
    go_on = anyio.Event()

    async def cut(run: RunContext) -> RunOutcome:
        assert run.opening is not None
        with pytest.raises(asyncio.CancelledError):  # noqa: PT012  the commit is made before the cancellation comes out
            async with run.opening.riding() as along:
                async with runs._record.write() as db:  # pyright: ignore[reportPrivateUsage]
                    await along(db)
                raise asyncio.CancelledError
        assert not run.opening.stored
        await go_on.wait()
        return await answer(run)

    async with opening(cut) as runs:
        asked = await ask(runs, me, wait_seconds=0)
        assert [run.status for run in (await runs.list(me))[0]] == ["working"]
        go_on.set()
        assert (await ended(runs, me, asked.run_id)).reply == "hello"


async def test_what_fails_while_it_is_waited_for_is_kept_with_its_error(opening: Any, me: Caller) -> None:
    async def failing(run: RunContext) -> RunOutcome:
        await run.emit("librarian", "tool_called", "it looked")
        raise InvalidInput("that is nothing to say hello to.")

    async with opening(failing) as runs:
        asked = await ask(runs, me)
        run = await runs.get(me, asked.run_id)
    assert (asked.outcome, run.status, run.error) == (None, "failed", "that is nothing to say hello to.")


async def test_what_is_cancelled_while_it_is_waited_for_ends_the_wait(opening: Any, me: Caller) -> None:
    begun = anyio.Event()

    async def slow(run: RunContext) -> RunOutcome:
        begun.set()
        await anyio.sleep_forever()
        return RunOutcome()

    async with opening(slow) as runs:
        asking = asyncio.create_task(ask(runs, me))
        with anyio.fail_after(DEADLINE):
            await begun.wait()
        [run] = (await runs.list(me))[0]
        await runs.cancel(me, run.run_id)
        asked = await asking
        assert asked.outcome is None
        assert (await runs.get(me, asked.run_id)).status == "cancelled"


async def test_its_events_are_told_while_it_is_waited_for(opening: Any, me: Caller) -> None:
    heard: list[str] = []
    told = anyio.Event()

    async def slow(run: RunContext) -> RunOutcome:
        await told.wait()
        return RunOutcome(reply="hello")

    async def hear(event: Event) -> None:
        heard.append(event.type)
        if event.type == "turn_started":
            told.set()

    async with opening(slow) as runs:
        asked = await ask(runs, me, on_event=hear)
    assert asked.outcome.reply == "hello"
    assert heard == ["run_queued", "run_started", "turn_started"]


async def test_more_than_can_begin_at_once_queue_and_all_are_answered(opening: Any, me: Caller) -> None:
    all_in, at_work, most = anyio.Event(), 0, 0

    async def crowded(run: RunContext) -> RunOutcome:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        if at_work == MAX_RUNS:
            all_in.set()
        await all_in.wait()
        at_work -= 1
        return RunOutcome(reply=run.input["word"])

    async with opening(crowded) as runs:
        replies: list[str | None] = []

        async def one(word: str) -> None:
            asked = await runs.ask(me, "turn", word, {"word": word}, wait_seconds=DEADLINE, first=first)
            run = asked.outcome or await ended(runs, me, asked.run_id)
            replies.append(run.reply)

        with anyio.fail_after(DEADLINE):
            async with anyio.create_task_group() as group:
                for number in range(2 * MAX_RUNS):
                    group.start_soon(one, str(number))
    assert sorted(map(str, replies), key=int) == [str(n) for n in range(2 * MAX_RUNS)]
    assert most == MAX_RUNS


async def test_an_outcome_that_comes_at_the_last_moment_is_either_handed_over_or_kept(opening: Any, me: Caller) -> None:
    async with opening(answer) as runs:
        for milliseconds in range(40):
            asked = await ask(runs, me, wait_seconds=milliseconds / 1000)
            if asked.outcome is None:
                assert (await ended(runs, me, asked.run_id)).reply == "hello"
            else:
                assert asked.outcome.reply == "hello"


async def test_an_outcome_that_is_promised_while_one_who_waited_too_long_is_leaving_is_handed_over(
    opening: Any, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = anyio.Event()

    async def slow(run: RunContext) -> RunOutcome:
        await go_on.wait()
        return await answer(run)

    async with opening(slow) as runs:
        present = runs._runner.attendances._present  # pyright: ignore[reportPrivateUsage]
        if jots := getattr(runs._record, "_jots", None):  # pyright: ignore[reportPrivateUsage]
            monkeypatch.setattr(jots, "begun", lambda: None)  # as while another process writes

        async def told(event: Event) -> None:
            if not go_on.is_set():
                runs._runner.attendances.let_go()  # pyright: ignore[reportPrivateUsage]  # as if the time were over
                async with runs._record.write():  # pyright: ignore[reportPrivateUsage]
                    go_on.set()
                    while not all(one.promised for one in present.values()):  # noqa: ASYNC110 - it tells nobody
                        await anyio.sleep(0.001)

        assert (await ask(runs, me, wait_seconds=60, on_event=told)).outcome.reply == "hello"
        assert (await runs.list(me))[0] == []
