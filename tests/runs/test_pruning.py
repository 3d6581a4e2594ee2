"""Old runs are thrown away with all that they kept, and nothing else is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import func, insert, select, update

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import RunOutcome
from atlas_mcp.runs.pruning import Pruned, prune
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
DEADLINE = 60
OTHER = Caller(id="key:other")
TEXT = "ünï" * 1000
DAY = timedelta(days=1)


async def work(run: RunContext) -> RunOutcome:
    await run.save("text", TEXT)
    await run.emit("a", "note", "something")
    if run.input.get("stay"):
        await anyio.sleep_forever()
    return RunOutcome(reply="done")


async def made(runs: Runs, record: Record, caller: Caller, days: int, **input: Any) -> str:
    """A run that ended so many days ago, with a turn and what it cost."""
    run_id = await runs.submit(caller, "turn", "g", input)
    with anyio.fail_after(DEADLINE):
        if input:
            await runs.get(caller, run_id, since=2, wait_seconds=DEADLINE)
        else:
            await runs.get(caller, run_id, since=100, wait_seconds=DEADLINE)
    then = datetime.now(UTC) - timedelta(days=days)
    turn = {"id": f"t-{run_id}", "key": run_id, "caller": caller.id, "agent": "a", "conversation": "c"}
    cost = {"turn": "t", "caller": caller.id, "run_id": run_id, "model": "m", "turns": 1, "tokens": 1}
    async with record.write() as connection:
        await connection.execute(
            update(tables.run).where(tables.run.c.id == run_id).values(created_at=then, updated_at=then)
        )
        await connection.execute(
            insert(tables.turn).values(**turn, run_id=run_id, message="m", status="done", started_at=then)
        )
        await connection.execute(insert(tables.ledger).values(**cost, day=then.date().isoformat()))
    return run_id


async def left(record: Record, table: Any = tables.run, column: str = "id") -> set[str]:
    async with record.read() as connection:
        return set((await connection.execute(select(table.c[column]))).scalars())


async def test_what_ended_long_ago_goes_with_all_it_kept(opening: Any, me: Caller, record: Record) -> None:
    async with opening(work) as runs:
        old, new, others = [await made(runs, record, c, d) for c, d in ((me, 40), (me, 1), (OTHER, 40))]
        going_on = await made(runs, record, me, 40, stay=True)
        pruned = await prune(record, 30 * DAY, caller=me.id)
        assert pruned.runs == 1
        assert len(TEXT.encode()) < pruned.bytes < len(TEXT.encode()) + 5000
        assert await left(record) == {new, others, going_on}
        for table in (tables.event, tables.artifact, tables.turn, tables.ledger):
            assert await left(record, table, "run_id") == {new, others, going_on}
        assert (await prune(record, 30 * DAY)).runs == 1
        assert await left(record) == {new, going_on}
        assert await prune(record, 30 * DAY) == Pruned()
        assert old not in await left(record)


async def test_of_each_caller_the_newest_stay_however_old(opening: Any, me: Caller, record: Record) -> None:
    async with opening(work) as runs:
        mine = [await made(runs, record, me, days) for days in (50, 40, 30)]
        others = [await made(runs, record, OTHER, days) for days in (60, 20)]
        assert (await prune(record, 10 * DAY, keep=1)).runs == 3
    assert await left(record) == {mine[2], others[1]}


async def test_more_than_go_into_one_transaction_are_deleted_all(opening: Any, me: Caller, record: Record) -> None:
    async with opening(work) as runs:
        first = await made(runs, record, me, 40)
    async with record.write() as connection:
        row = (await connection.execute(select(tables.run).where(tables.run.c.id == first))).one()
        copies = [{**row._mapping, "id": f"{first}-{n}"} for n in range(250)]
        await connection.execute(insert(tables.run), copies)
    assert (await prune(record, 30 * DAY)).runs == 251
    async with record.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(tables.run))).scalar_one() == 0


async def test_what_was_spent_today_is_still_counted(opening: Any, me: Caller, record: Record) -> None:
    async with opening(work) as runs:
        run_id = await made(runs, record, me, 0)
        assert (await prune(record, timedelta(0))).runs == 1
    assert await left(record, tables.ledger, "run_id") == {run_id}


@pytest.mark.parametrize(("options", "argument"), [({"older_than": -DAY}, "older_than"), ({"keep": -1}, "keep")])
async def test_it_says_what_it_cannot_use(record: Record, options: dict[str, Any], argument: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await prune(record, **{"older_than": DAY, **options})
    assert refused.value.argument == argument
