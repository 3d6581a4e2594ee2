"""Alerts: raised once for what is beyond its threshold, cleared when it is over, on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import timedelta

import anyio
import pytest
from sqlalchemy import select, update

from atlas_mcp.model.caller import Caller
from atlas_mcp.model.status import Room
from atlas_mcp.store import tables
from atlas_mcp.store.quality_tables import alert
from atlas_mcp.store.record import Record
from atlas_mcp.watch.alerts import rows
from atlas_mcp.watch.alerts.ages import Ages
from atlas_mcp.watch.alerts.looking import Lookout
from atlas_mcp.watch.alerts.rules import FEWEST_TURNS, Finding, Thresholds
from tests.health.conftest import NOON, Clock, add_task, add_turns, rated, spend

pytestmark = pytest.mark.anyio
ME, YOU = Caller(id="local:me"), Caller(id="local:you")


def lookout(record: Record, clock: Clock, daily: float | None = None, **beyond: object) -> Lookout:
    thresholds = Thresholds(**beyond)  # pyright: ignore[reportArgumentType]
    return Lookout(record, thresholds, daily_usd=daily, now=clock.now, ages=Ages(clock.seconds))


async def standing(record: Record, caller: Caller = ME) -> list[tuple[str, str]]:
    async with record.read() as db:
        return [(one.rule, one.subject) for one in await rows.standing(db, caller)]


async def end(record: Record, run_id: str, clock: Clock, **more: object) -> None:
    async with record.write() as db:
        change = {"status": "completed", "updated_at": clock.wall, **more}
        await db.execute(update(tables.run).where(tables.run.c.id == run_id).values(change))


async def test_a_task_that_takes_too_long_is_told_once_and_for_an_hour_after_its_end(
    record: Record, clock: Clock
) -> None:
    await add_task(record, "run_1")
    look = lookout(record, clock)
    clock.pass_by(300)
    assert (await look.look()).raised == []
    clock.pass_by(15)
    [raised] = (await look.look()).raised
    assert (raised.rule, raised.run_id, raised.trace_id, raised.value) == ("task_seconds", "run_1", "tr-run_1", 315)
    clock.pass_by(15)
    assert (await look.look()).raised == []
    await end(record, "run_1", clock)
    clock.pass_by(3_599)
    assert (await look.look()).cleared == []
    assert await standing(record) == [("task_seconds", "run_1")]
    clock.pass_by(2)
    [over] = (await look.look()).cleared
    assert (over.id, over.cleared_at) == (raised.id, clock.wall)
    assert await standing(record) == []


async def test_the_time_a_task_waits_for_a_person_is_not_its_own(record: Record, clock: Clock) -> None:
    await add_task(record, "run_1", status="awaiting_answer")
    question = {
        "run_id": "run_1",
        "asked_by": "atlas",
        "kind": "choice",
        "text": "?",
        "options": [],
        "words": "",
        "safe": "no",
        "deadline": NOON + timedelta(days=3),
    }
    asked = [(10, 400), (200, None)]  # two that overlap: from 10 s on it only waits
    async with record.write() as db:
        for number, (begun, answered) in enumerate(asked):
            moments = {"asked_at": NOON + timedelta(seconds=begun)}
            moments["answered_at"] = answered and NOON + timedelta(seconds=answered)  # pyright: ignore[reportArgumentType]
            row = {**question, "id": f"q{number}", "key": f"q{number}", **moments}
            await db.execute(tables.question.insert(), row)
    look = lookout(record, clock)
    clock.pass_by(7_200)
    assert (await look.look()).raised == []
    async with record.write() as db:
        await db.execute(update(tables.question).where(tables.question.c.id == "q1").values(answered_at=clock.wall))
    clock.pass_by(291)
    [raised] = (await look.look()).raised
    assert raised.value == 301


async def test_a_dear_task_a_bad_one_and_a_nearly_spent_budget_are_told(record: Record, clock: Clock) -> None:
    await add_task(record, "dear")
    await spend(record, 5.01, run_id="dear")
    await add_task(record, "bad", status="completed", result=rated(3.4))
    await add_task(record, "good", status="completed", result=rated(3.5))
    await add_task(record, "near", budget={"usd": 1.0, "turns": 10})
    await spend(record, 0.5, run_id="near", turns=8)
    raised = (await lookout(record, clock).look()).raised
    assert {(one.rule, one.subject) for one in raised} == {
        ("task_usd", "dear"),
        ("quality", "bad"),
        ("budget", "near"),
    }
    assert {one.rule: round(one.value, 2) for one in raised} == {"task_usd": 5.01, "quality": 3.4, "budget": 0.8}
    assert not any("secret" in one.text for one in raised)


async def test_a_rule_that_is_switched_off_finds_nothing_and_what_it_raised_is_over(
    record: Record, clock: Clock
) -> None:
    await add_task(record, "dear")
    await spend(record, 9.0, run_id="dear")
    assert len((await lookout(record, clock).look()).raised) == 1
    assert len((await lookout(record, clock, task_usd=None).look()).cleared) == 1
    assert (await lookout(record, clock, task_usd=None).look()).raised == []


async def test_turns_that_fail_are_told_from_a_tenth_on_and_not_of_a_few(record: Record, clock: Clock) -> None:
    look = lookout(record, clock)
    await add_task(record, "run_1", kind="turn")
    await add_turns(record, ["failed"] * (FEWEST_TURNS - 1), at=NOON - timedelta(minutes=50), run_id="run_1")
    assert (await look.look()).raised == []
    await add_turns(record, ["done"])
    [raised] = (await look.look()).raised
    assert (raised.rule, raised.subject, raised.value) == ("error_rate", "", 0.9)
    assert (raised.run_id, raised.trace_id) == ("run_1", "tr-run_1")
    clock.pass_by(11 * 60)
    assert [one.id for one in (await look.look()).cleared] == [raised.id]


async def test_what_is_a_caller_s_is_shown_to_that_caller_only(record: Record, clock: Clock) -> None:
    await add_task(record, "mine")
    await spend(record, 8.5, run_id="mine")
    await add_turns(record, ["failed"] * 20, run_id="mine")
    await lookout(record, clock, daily=10).look()
    async with record.read() as db:
        mine, yours = await rows.standing(db, ME), await rows.standing(db, YOU)
    assert {one.rule for one in mine} == {"task_usd", "budget", "error_rate"}
    assert [(one.rule, one.run_id, one.trace_id) for one in yours] == [("error_rate", None, None)]
    day = next(one for one in mine if one.rule == "budget")
    assert (day.value, "local:me" in day.model_dump_json()) == (0.85, False)


async def test_the_day_s_alert_is_over_when_the_next_day_begins(record: Record, clock: Clock) -> None:
    await spend(record, 8.5)
    look = lookout(record, clock, daily=10)
    assert [one.rule for one in (await look.look()).raised] == ["budget"]
    clock.pass_by(13 * 3600)
    assert [one.rule for one in (await look.look()).cleared] == ["budget"]


async def test_a_store_that_is_not_well_stands_until_it_is_looked_at_and_well(record: Record, clock: Clock) -> None:
    health = "warning"

    async def stores() -> list[Room]:
        return [Room(name="redis", health=health, text="It is gone."), Room(name="runs", health="ok", text="Kept.")]  # pyright: ignore[reportArgumentType]

    look = lookout(record, clock)
    [raised] = (await look.look(stores)).raised
    assert (raised.rule, raised.subject, raised.text) == ("store", "redis", "redis is not well: It is gone.")
    health = "ok"
    assert (await look.look()).cleared == []
    assert len((await look.look(stores)).cleared) == 1
    health = "failing"
    assert len((await look.look(stores)).raised) == 1  # anew, for it is a new trouble


async def test_two_that_find_the_same_at_once_raise_it_once(record: Record, clock: Clock) -> None:
    found = [Finding("store", f"store {number}", "gone", 1.0, 0.0) for number in range(20)]
    raised: list[str] = []

    async def raise_all() -> None:
        changes = await rows.settle(record, found, {"store"}, clock.wall)
        raised.extend(one.subject for one in changes.raised)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(raise_all)
    assert sorted(raised) == sorted(one.subject for one in found)
    async with record.read() as db:
        kept = (await db.execute(select(alert.c.subject))).scalars().all()
    assert sorted(kept) == sorted(raised)


async def test_the_index_keeps_a_second_alert_out_that_nobody_else_did(record: Record, clock: Clock) -> None:
    one = Finding("store", "redis", "gone", 1.0, 0.0)
    await rows.settle(record, [one], {"store"}, clock.wall)
    async with record.write() as db:
        assert await rows._raise(db, one, clock.wall) is None  # pyright: ignore[reportPrivateUsage]
    assert await standing(record) == [("store", "redis")]


@pytest.mark.parametrize("by", [timedelta(days=400), timedelta(days=-400)], ids=["forward", "back"])
async def test_a_clock_that_jumps_makes_no_task_late_and_none_that_is_late_in_time(
    record: Record, clock: Clock, by: timedelta
) -> None:
    await add_task(record, "before")
    look = lookout(record, clock)
    await look.look()
    clock.pass_by(15)
    await look.look()
    clock.jump(by)
    await add_task(record, "at the jump", at=NOON + timedelta(seconds=14))  # asked for by the clock as it was
    assert (await look.look()).raised == []
    clock.pass_by(15)
    await add_task(record, "after", at=clock.wall)
    assert (await look.look()).raised == []
    clock.pass_by(280)
    assert [one.subject for one in (await look.look()).raised] == ["before"]
    clock.pass_by(30)
    assert {one.subject for one in (await look.look()).raised} == {"at the jump", "after"}


async def test_turns_of_a_future_that_was_taken_back_are_not_of_the_last_hour(record: Record, clock: Clock) -> None:
    await add_turns(record, ["failed"] * 20, at=NOON + timedelta(days=2))
    assert (await lookout(record, clock).look()).raised == []
