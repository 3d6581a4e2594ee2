"""What is looked for twice a second, and what is completed while somebody types, is the same on both databases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert

from atlas_mcp.constellation.standing import additions, newest_revisions
from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import rows
from atlas_mcp.runs.rows import Order
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import addition, block, revision

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def a_block(caller: str, owner: str, label: str) -> dict[str, Any]:
    place = {"caller": caller, "owner": owner, "label": label}
    return {**place, "server": "here", "letta_id": "/".join(place.values()), "limit": 10}


def a_revision(caller: str, owner: str, label: str, number: int) -> dict[str, Any]:
    made = {"value": "v", "operation": "value", "author": "caller", "at": NOW}
    return {"block_id": f"{caller}/{owner}/{label}", "number": number, "caller": caller, **made}


async def test_the_newest_revision_of_a_block_is_found_for_its_caller_alone(
    home: Path, database: Postgres | None
) -> None:
    async with open_record(home, database) as record:
        async with record.write() as db:
            for place in (("ada", "librarian", "human"), ("ada", "*", "notes"), ("bob", "librarian", "human")):
                await db.execute(insert(block).values(**a_block(*place)))
            for number in (1, 2, 3):
                await db.execute(insert(revision).values(**a_revision("ada", "librarian", "human", number)))
            await db.execute(insert(revision).values(**a_revision("ada", "*", "notes", 7)))
            await db.execute(insert(revision).values(**a_revision("bob", "librarian", "human", 5)))
        async with record.look() as db:
            found = await newest_revisions(db, ["ada"], ["human", "notes"])
        assert found.of("ada", "librarian", "human") == 3
        assert found.of("ada", "web_researcher", "notes") == 7  # a shared one is every agent's
        assert found.of("ada", "web_researcher", "human") is None
        assert found.of("bob", "librarian", "human") is None  # nobody asked for bob's


async def test_additions_differ_after_each_change_and_by_caller(home: Path, database: Postgres | None) -> None:
    async with open_record(home, database) as record:
        seen: list[Any] = []
        for names in ((), ("editor",), ("editor", "critic"), ("critic",)):
            async with record.write() as db:
                await db.execute(delete(addition))
                for name in names:
                    row = {"caller": "ada", "kind": "agent", "name": name, "spec": {}, "created_at": NOW}
                    await db.execute(insert(addition).values(**row))
            async with record.look() as db:
                found = await additions(db, ["ada", "bob"])
            assert "bob" not in found
            seen.append(found.get("ada", ()))
        assert len({*seen}) == 4


async def test_runs_are_named_by_id_and_goal_newest_first_and_counted(home: Path, database: Postgres | None) -> None:
    async with open_record(home, database) as record:
        async with record.write() as db:
            for run_id, caller, goal in (
                ("run_a1", "ada", "Where is tea grown?"),
                ("run_a2", "ada", "Is salt 100% pure?"),
                ("run_b1", "bob", "Where is tea sold?"),
            ):
                await rows.add(db, run_id, "team_task", goal, Order(caller=Caller(id=caller), input={}), [], None)
        async with record.read() as db:
            assert await rows.named(db, "ada", "", 10) == (["run_a2", "run_a1"], 2)
            assert await rows.named(db, "ada", "", 1) == (["run_a2"], 2)
            assert await rows.named(db, "ada", "run_a1", 10) == (["run_a1"], 1)
            assert await rows.named(db, "ada", "TEA", 10) == (["run_a1"], 1)
            assert await rows.named(db, "ada", "0%", 10) == (["run_a2"], 1)
            assert await rows.named(db, "ada", "_", 10) == ([], 0)  # it stands for itself and nothing else
            assert await rows.named(db, "ada", "run_b1", 10) == ([], 0)
