"""Expiry by itself: at its time, also in the background; what is episodic stays while its run or project goes on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import func, insert, select, update

from atlas_mcp.memory.expiring import expire, keep_expiring
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.results import bring_up_to_date
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.search import search
from atlas_mcp.memory.uses import Uses
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.memory_item import New
from atlas_mcp.store.memory_tables import memory, memory_revision
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage, run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.model.memory_kinds import MemoryKind
    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="local:me"), Caller(id="local:other")
DAY = timedelta(days=1)


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    home.mkdir(parents=True, exist_ok=True)
    async with open_record(home, database) as opened:
        yield opened


async def counts(record: Record) -> tuple[int, ...]:
    async with record.read() as db:
        tables = (memory, memory_revision, passage)
        return tuple([(await db.execute(select(func.count()).select_from(one))).scalar_one() for one in tables])


async def ages(record: Record, days: float) -> None:
    """Let so many days go by for all that is kept."""
    async with record.write() as db:
        for table, columns in ((memory, ("updated_at", "created_at")), (passage, ("at",)), (run, ("updated_at",))):
            names = [*columns, *(["expires_at"] if table is not run else [])]
            for row in list(await db.execute(select(table))):
                was = {name: getattr(row, name) for name in names}
                older = {name: value - days * DAY for name, value in was.items() if value is not None}
                await db.execute(update(table).where(table.c.id == row.id).values(older))


async def found(record: Record, kind: MemoryKind, query: str, caller: Caller = ME) -> list[str]:
    async with record.read() as db:
        return [hit.text for hit in await search(db, Scope(caller, (kind,)), Query(query), 8)]


def a_run(run_id: str, status: str, *, project: str = "", output: str = "Tea grows in Assam.") -> dict[str, Any]:
    now = datetime.now(UTC)
    order = {"caller": {}, "input": {"project": project or None}, "traceparent": None}
    return {
        "id": run_id, "caller": ME.id, "kind": "team_task", "status": status, "goal": "Tea?", "input": order,
        "progress": {}, "usage": {}, "needs": [], "attempts": 1, "last_seq": 0, "created_at": now, "updated_at": now,
        "result": {"output": output},
    }  # fmt: skip


async def test_what_has_run_out_is_found_no_more_and_then_deleted_with_all_that_belongs_to_it(record: Record) -> None:
    mine, theirs = Memories(ME, record), Memories(OTHER, record)
    for whose in (mine, theirs):
        await whose.add(New(kind="working", text="Tea is on the table."))
        await whose.add(New(kind="long_term", text="Tea grows in Assam."))
    await ages(record, 1)
    assert await found(record, "working", "tea table") == [], "before anything was deleted"
    assert await expire(record) == 2
    assert await counts(record) == (2, 2, 2)
    assert await found(record, "long_term", "tea") == ["Tea grows in Assam."]
    assert await expire(record) == 0


async def test_it_happens_by_itself(record: Record) -> None:
    await Memories(ME, record).add(New(kind="short_term", text="Tea is on the table."))
    await ages(record, 4)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keep_expiring, record)
        with anyio.fail_after(60):
            while await counts(record) != (0, 0, 0):
                await anyio.lowlevel.checkpoint()
        tasks.cancel_scope.cancel()


async def test_many_that_run_out_at_once_are_all_deleted(record: Record) -> None:
    await Memories(ME, record).add_all([New(kind="working", text=f"Cup {n} of tea.") for n in range(1_203)])
    await ages(record, 1)
    assert await expire(record) == 1_203
    assert await counts(record) == (0, 0, 0)


async def test_what_is_episodic_stays_as_long_as_its_run_goes_on_and_a_month_after(record: Record) -> None:
    mine = Memories(ME, record)
    async with record.write() as db:
        await db.execute(insert(run).values(a_run("run-1", "working")))
    await mine.add(New(kind="episodic", text="The kettle broke.", run_id="run-1", author="agent:reader"))
    await ages(record, 29.5)
    assert await expire(record) == 0
    await ages(record, 29.5)
    assert [one.text for one in await mine.list()] == ["The kettle broke."], "two months, and the run goes on"
    async with record.write() as db:
        await db.execute(update(run).values(status="completed", updated_at=datetime.now(UTC)))
    await expire(record)
    await ages(record, 29)
    assert [one.text for one in await mine.list()] == ["The kettle broke."]
    await ages(record, 2)
    assert await mine.list() == []
    await expire(record)
    assert (await counts(record))[0] == 0


async def test_a_projects_episodes_and_results_stay_while_anything_is_written_in_it(record: Record) -> None:
    mine = Memories(ME, record)
    async with record.write() as db:
        await db.execute(insert(run).values(a_run("run-1", "completed", project="pier")))
        await db.execute(insert(run).values(a_run("run-2", "completed", output="Tea grows in Kenya.")))
    await bring_up_to_date(ME, record)
    await mine.add(New(kind="episodic", text="The kettle broke.", project="pier"))
    for _ in range(3):
        await ages(record, 20)
        await mine.add(New(kind="long_term", text=f"Note of {datetime.now(UTC)}.", project="pier"))
        await expire(record)
        await ages(record, 9.5)
        await expire(record)
        await bring_up_to_date(ME, record)
    assert [one.text for one in await mine.list(kinds=["episodic"])] == ["The kettle broke."]
    assert await found(record, "episodic", "tea") == ["Tea grows in Assam."], "the other run belonged to no project"
    await ages(record, 40)
    assert await found(record, "episodic", "tea kettle") == []


async def test_a_use_is_noted_in_the_background_and_only_for_the_caller(record: Record) -> None:
    for caller in (ME, OTHER):
        await Memories(caller, record).add(New(kind="long_term", text="Tea grows in Assam."))
    async with record.read() as db:
        hits = await search(db, Scope(ME, ("long_term",)), Query("tea"), 8)
    uses = Uses(record)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(uses.work)
        await anyio.lowlevel.checkpoint()
        uses.note(ME, hits)
        uses.note(OTHER, hits)
        tasks.cancel_scope.cancel()  # what was noted is written down on the way out
    async with record.read() as db:
        used = {row.caller: row.used_at is not None for row in await db.execute(select(passage))}
    assert used == {ME.id: True, OTHER.id: False}
