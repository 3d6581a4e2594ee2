"""The ledger itself: what is reserved counts at once, what was really used takes its place, and days and callers are
apart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import insert

from atlas_mcp.errors import BudgetSpent, UnpricedModel
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.usage import Usage
from atlas_mcp.store import tables
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.watch.ledger import Ledger, Reservation
from atlas_mcp.watch.limits import money
from atlas_mcp.watch.spending import spending
from tests.postgres import session_postgres

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="local:me"), Caller(id="local:other")
TURN = Usage(turns=1, input_tokens=900, output_tokens=100, cost_usd=0.1)


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest) -> str:
    """Where the record is: in the home, or in a PostgreSQL at that address."""
    return "" if request.param == "sqlite" else session_postgres().new_database()


@pytest.fixture
async def record(home: Path, address: str) -> AsyncIterator[Record]:
    home.mkdir()
    async with open_record(home, Postgres(address) if address else None) as opened:
        yield opened


class Desk:
    """One ledger in use."""

    def __init__(self, record: Record, daily: float | None = None) -> None:
        self.record = record
        self.ledger = Ledger(daily)
        self.count = 0

    async def reserve(self, caller: Caller = ME, estimate: Usage = TURN, **known: Any) -> Reservation:
        self.count += 1
        given = {"turn": f"turn-{self.count}", "run_id": "run-1", "model": "x/m", **known}
        async with self.record.write(caller.id) as db:
            return await self.ledger.reserve(db, caller, estimate=estimate, **given)

    async def settle(self, reserved: Reservation, used: Usage) -> None:
        async with self.record.write(reserved.caller) as db:
            await self.ledger.settle(db, reserved, used)

    async def spent(self, caller: Caller = ME) -> tuple[int, float]:
        async with self.record.read() as db:
            found = await spending(db, caller, self.ledger.daily_usd)
        return found.tokens, round(found.usd, 9)


async def test_a_reservation_counts_until_what_was_used_takes_its_place(record: Record) -> None:
    desk = Desk(record, daily=0.25)
    first, second = await desk.reserve(), await desk.reserve()
    assert await desk.spent() == (2000, 0.2)
    with pytest.raises(BudgetSpent, match=r"day's limit of \$0\.25 has no room .* \$0\.20 is spent or reserved"):
        await desk.reserve()
    await desk.settle(first, Usage(turns=1, input_tokens=40, output_tokens=10, cost_usd=0.005))
    assert await desk.spent() == (1050, 0.105)
    third = await desk.reserve()
    await desk.settle(second, Usage(cost_usd=0.0))
    await desk.settle(third, Usage(turns=1, input_tokens=3000, cost_usd=0.3))
    assert await desk.spent() == (3050, 0.305)


async def test_a_refusal_leaves_nothing_and_says_what_to_do(record: Record) -> None:
    desk = Desk(record, daily=0.05)
    with pytest.raises(BudgetSpent) as refused:
        await desk.reserve()
    assert (refused.value.limit, refused.value.tokens, refused.value.usd) == ("day", 1000, 0.1)
    assert "Raise ATLAS_DAILY_USD and restart, or wait until 00:00 UTC (in " in str(refused.value)
    assert await desk.spent() == (0, 0.0)


async def test_callers_and_days_are_apart(record: Record) -> None:
    desk = Desk(record, daily=0.1)
    row = {"turn": "old", "caller": ME.id, "day": "2026-01-01", "model": "x/m", "turns": 1, "tokens": 5, "usd": 9.0}
    async with record.write() as db:
        await db.execute(insert(tables.ledger).values(row))
    await desk.reserve(OTHER)
    await desk.reserve(ME)
    for caller in (ME, OTHER):
        with pytest.raises(BudgetSpent):
            await desk.reserve(caller)


async def test_a_turn_settled_after_midnight_counts_to_the_day_it_began(record: Record) -> None:
    desk = Desk(record, daily=1.0)
    reserved = await desk.reserve()
    yesterday = Reservation(reserved.turn, ME.id, "run-1", "2026-01-01", "x/m", 1000, 0.1)
    before = await desk.spent()
    await desk.settle(yesterday, Usage(turns=1, input_tokens=9, cost_usd=0.9))
    assert await desk.spent() == before


async def test_a_turn_taken_up_again_has_the_reservation_that_its_dead_process_left(record: Record) -> None:
    dead, living = Desk(record, daily=0.1), Desk(record, daily=0.1)
    left = await dead.reserve(turn="turn-a")
    again = await living.reserve(turn="turn-a", known=True)
    assert (again.day, again.tokens, again.usd) == (left.day, left.tokens, left.usd)
    assert await living.spent() == (1000, 0.1)
    await living.settle(again, Usage(turns=1, input_tokens=10, output_tokens=5, cost_usd=0.01))
    assert await living.spent() == (15, 0.01)


async def test_a_turn_that_failed_without_cost_is_reserved_anew(record: Record) -> None:
    desk = Desk(record, daily=1.0)
    await desk.settle(await desk.reserve(turn="turn-a"), Usage(cost_usd=0.0))
    assert await desk.spent() == (0, 0.0)
    await desk.reserve(turn="turn-a", known=True)
    assert await desk.spent() == (1000, 0.1)


async def test_where_nothing_is_limited_only_what_turns_did_cost_is_entered(record: Record) -> None:
    desk = Desk(record)
    first, failed = await desk.reserve(), await desk.reserve()
    assert await desk.spent() == (0, 0.0)
    await desk.settle(first, TURN)
    await desk.settle(failed, Usage(cost_usd=0.0))
    assert await desk.spent() == (1000, 0.1)


async def test_free_models_are_no_matter_of_a_day_s_dollars_and_unpriced_ones_are_refused(record: Record) -> None:
    desk = Desk(record, daily=0.0)
    await desk.reserve(estimate=Usage(turns=1, input_tokens=900, output_tokens=100, cost_usd=0.0))
    with pytest.raises(BudgetSpent, match=r"the day's limit of \$0\.00 allows no turn"):
        await desk.reserve()
    with pytest.raises(UnpricedModel, match=r'ATLAS_DAILY_USD.*what x:m costs is not known.*\[prices\."x:m"\]'):
        await desk.reserve(estimate=Usage(turns=1, input_tokens=900))


async def test_tokens_of_a_model_without_a_price_are_counted_and_told_apart(record: Record) -> None:
    desk = Desk(record)
    await desk.settle(await desk.reserve(estimate=Usage(turns=1, input_tokens=9)), Usage(turns=1, input_tokens=70))
    await desk.settle(await desk.reserve(), TURN)
    async with record.read() as db:
        found = await spending(db, ME, None)
    assert (found.tokens, found.unpriced_tokens, found.usd, found.left_usd) == (1070, 70, 0.1, None)


@pytest.mark.parametrize(
    ("budget", "admitted", "said"),
    [
        (Budget(usd=0.35), 3, r"\$0\.35 has no room for another turn: \$0\.30 is spent or reserved.*about \$0\.10"),
        (Budget(tokens=2000), 2, "2,000 tokens has no room for another turn: 2,000 tokens are spent or reserved"),
        (Budget(turns=1), 1, "budget of 1 turn is spent"),
    ],
)
async def test_every_limit_of_a_run_is_hard(record: Record, budget: Budget, admitted: int, said: str) -> None:
    desk = Desk(record)
    with desk.ledger.account("run-1", budget):
        for _ in range(admitted):
            await desk.reserve()
        with pytest.raises(BudgetSpent, match=said):
            await desk.reserve()
        await desk.reserve(run_id="run-2")  # another run is none of its business
    await desk.reserve()


async def test_a_refused_turn_waits_for_others_of_its_run_and_then_ends_all(record: Record) -> None:
    desk = Desk(record)
    with desk.ledger.account("run-1", Budget(usd=0.15)):
        first = await desk.reserve()
        with pytest.raises(BudgetSpent) as refused:
            await desk.reserve()
        told: list[bool] = []

        async def wait() -> None:
            told.append(await desk.ledger.room_comes("run-1", refused.value))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                with desk.ledger.under_way(first):
                    tasks.start_soon(wait)
                    await anyio.wait_all_tasks_blocked()
                    assert not told
        assert told == [True]
        await desk.settle(first, Usage(turns=1, input_tokens=10, cost_usd=0.01))
        await desk.reserve()
        assert not await desk.ledger.room_comes("run-1", refused.value)
        with pytest.raises(BudgetSpent, match=r"budget of \$0\.15"):
            await desk.reserve(estimate=Usage(turns=1, cost_usd=0.0))


def spend_at_once(home: Path, address: str, processes: int) -> list[int]:
    """How many turns each of them got."""
    command = [sys.executable, "-m", "tests.budgets.spender", str(home), address, "1.0", "0.01"]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    spenders = [subprocess.Popen(command, **pipes) for _ in range(processes)]
    try:
        for spender in spenders:
            assert spender.stdout is not None
            assert spender.stdout.readline() == "ready\n"
        for spender in spenders:
            assert spender.stdin is not None
            spender.stdin.write("go\n")
            spender.stdin.flush()
        return [int(spender.communicate(timeout=200)[0]) for spender in spenders]
    finally:
        for spender in spenders:
            spender.kill()


async def test_processes_that_spend_at_once_never_exceed_a_day_together(
    record: Record, home: Path, address: str
) -> None:
    """Four processes reserve until they are refused, let go at the same moment; nothing of it is settled."""
    told = await anyio.to_thread.run_sync(spend_at_once, home, address, 4)
    assert sum(told) == 100
    assert sum(count > 0 for count in told) > 1, "they were to spend at the same time"
    async with record.read() as db:
        found = await spending(db, ME, 1.0)
    assert found.usd == pytest.approx(1.0)
    assert found.left_usd == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("usd", "read"),
    [
        (0, "$0.00"),
        (20, "$20.00"),
        (1234.5, "$1,234.50"),
        (0.1 + 0.2, "$0.30"),
        (0.0123, "$0.012"),
        (1e-6, "less than $0.0001"),
    ],
)
async def test_dollars_read_as_people_write_them(usd: float, read: str) -> None:
    assert money(usd) == read
