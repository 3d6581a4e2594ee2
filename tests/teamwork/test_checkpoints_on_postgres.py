"""Where runs stand, on PostgreSQL: set up once by whoever comes first, and fenced."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy import insert, update

from atlas_mcp.errors import RunLost, StoreUnavailable
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import run
from atlas_mcp.teamwork.checkpoints import Checkpoints, Fence
from tests.postgres import session_postgres

pytestmark = pytest.mark.anyio
NOWHERE = Path("/nowhere")


@pytest.fixture
def database() -> Postgres:
    return Postgres(session_postgres().new_database())


def a_run(executor: str | None, status: str = "working") -> dict[str, Any]:
    now = datetime.now(UTC)
    row = {"id": "run-1", "caller": "c", "kind": "team_task", "status": status, "goal": "g", "input": {}}
    more = {"progress": {}, "usage": {}, "needs": [], "created_at": now, "updated_at": now}
    return row | more | {"executor": executor}


def at(run_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": run_id, "checkpoint_ns": ""}}


async def put(checkpoints: Checkpoints, run_id: str = "run-1") -> None:
    saver = await checkpoints.saver()
    kept = await saver.aput(at(run_id), empty_checkpoint(), {}, {})
    await saver.aput_writes(kept, [("channel", {"a": 1})], "task")


async def test_five_processes_set_up_at_the_same_moment_and_all_can_write(database: Postgres):
    async with open_record(NOWHERE, database):

        async def one(n: int) -> None:
            async with Checkpoints(database) as checkpoints:
                await put(checkpoints, f"run-{n}")

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for n in range(5):
                    group.start_soon(one, n)


async def test_only_the_process_that_executes_the_run_writes_where_it_stands(database: Postgres):
    mine, theirs = Fence(NOWHERE, "me"), Fence(NOWHERE, "they")
    async with (
        open_record(NOWHERE, database) as record,
        Checkpoints(database, mine) as ours,
        Checkpoints(database, theirs) as others,
    ):
        async with record.write() as connection:
            await connection.execute(insert(run).values(a_run("me")))
        await put(ours)
        with pytest.raises(RunLost, match="run-1"):
            await put(others)
        async with record.write() as connection:
            await connection.execute(update(run).values(executor="they"))
        with pytest.raises(RunLost, match="run-1"):
            await put(ours)
        await put(others)
        async with record.write() as connection:
            await connection.execute(update(run).values(status="completed"))
        with pytest.raises(RunLost):
            await put(others)
        assert await (await others.saver()).aget_tuple(at("run-1")) is not None
        await others.forget("run-1")
        assert await (await others.saver()).aget_tuple(at("run-1")) is None


async def test_what_is_left_of_a_run_that_has_ended_is_swept_away_at_the_opening(database: Postgres):
    async with open_record(NOWHERE, database) as record:
        async with record.write() as connection:
            await connection.execute(insert(run).values(a_run("dead")))
        async with Checkpoints(database, Fence(NOWHERE, "dead")) as dead:
            await put(dead)
        async with record.write() as connection:
            await connection.execute(update(run).values(status="failed"))
        async with Checkpoints(database, Fence(NOWHERE, "new")) as checkpoints:
            assert await (await checkpoints.saver()).aget_tuple(at("run-1")) is None


async def test_a_broken_connection_is_a_clear_error_and_the_next_write_goes_through(database: Postgres):
    async with open_record(NOWHERE, database), Checkpoints(database) as checkpoints:
        await put(checkpoints)
        name = database.url.rpartition("/")[2]
        end = f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{name}'"
        session_postgres().execute(end)
        with anyio.fail_after(30):
            while True:
                try:
                    await put(checkpoints)
                except StoreUnavailable:
                    continue
                break
