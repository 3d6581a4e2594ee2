"""Only the process that executes a run writes where it stands; what has ended leaves nothing behind."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from atlas_mcp.errors import RunLost
from atlas_mcp.store import tables
from atlas_mcp.store.home import Home, open_home
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.teamwork.checkpoints import Checkpoints, Fence

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

pytestmark = pytest.mark.anyio


@pytest.fixture
def opened_home(home: Path) -> Home:
    return open_home(home)


@pytest.fixture
async def record(opened_home: Home) -> AsyncGenerator[Record]:
    async with open_record(opened_home.path) as record:
        yield record


async def begun(record: Record, run_id: str, executor: str | None) -> None:
    now = datetime.now(UTC)
    row = {"id": run_id, "caller": "me", "kind": "team_task", "status": "working", "goal": "g", "executor": executor}
    more: dict[str, Any] = {"input": {}, "progress": {}, "usage": {}, "needs": [], "created_at": now, "updated_at": now}
    async with record.write() as db:
        await db.execute(insert(tables.run).values(**row, **more))


async def changed(record: Record, run_id: str, **values: Any) -> None:
    async with record.write() as db:
        await db.execute(update(tables.run).where(tables.run.c.id == run_id).values(**values))


async def write(checkpoints: Checkpoints, run_id: str) -> None:
    """What LangGraph writes in a step: a checkpoint and what a node came to."""
    from langgraph.checkpoint.base import empty_checkpoint

    saver = await checkpoints.saver()
    config: Any = {"configurable": {"thread_id": run_id, "checkpoint_ns": ""}}
    after = await saver.aput(config, empty_checkpoint(), {}, {})
    await saver.aput_writes(after, [("channel", "value")], "task")


def there(home: Home) -> set[str]:
    with closing(sqlite3.connect(home.checkpoints)) as database:
        query = "SELECT thread_id FROM checkpoints UNION SELECT thread_id FROM writes"
        return {row[0] for row in database.execute(query)}


async def test_who_lost_a_run_to_another_process_cannot_write_where_it_stands(
    opened_home: Home, record: Record
) -> None:
    await begun(record, "mine", "me")
    await begun(record, "given-back", "me")
    await begun(record, "taken", "me")
    async with (
        Checkpoints(opened_home.checkpoints, Fence(opened_home.record, "me")) as checkpoints,
        Checkpoints(opened_home.checkpoints, Fence(opened_home.record, "another")) as others,
    ):
        for run_id in ("mine", "given-back", "taken"):
            await write(checkpoints, run_id)
        await changed(record, "given-back", executor=None)
        await changed(record, "taken", executor="another")
        for run_id in ("mine", "given-back"):
            await write(checkpoints, run_id)
        with pytest.raises(RunLost, match="taken"):
            await write(checkpoints, "taken")
        with pytest.raises(RunLost, match="mine"):
            await write(others, "mine")
        await write(others, "taken")


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
async def test_what_has_ended_is_written_to_no_more_and_swept_away_at_the_next_opening(
    opened_home: Home, record: Record, status: str
) -> None:
    fence = Fence(opened_home.record, "me")
    for run_id in ("ended", "goes-on"):
        await begun(record, run_id, "me")
    async with Checkpoints(opened_home.checkpoints, fence) as checkpoints:
        await write(checkpoints, "ended")
        await write(checkpoints, "goes-on")
        await changed(record, "ended", status=status)
        with pytest.raises(RunLost):
            await write(checkpoints, "ended")
    assert there(opened_home) == {"ended", "goes-on"}
    async with Checkpoints(opened_home.checkpoints, fence) as checkpoints:
        await checkpoints.saver()
        assert there(opened_home) == {"goes-on"}
        await checkpoints.forget("goes-on")
        assert there(opened_home) == set()
