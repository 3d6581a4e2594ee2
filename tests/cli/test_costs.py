"""`atlas-mcp costs`: what was spent, added up in every way, and nobody's words told to another."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import insert

from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import ledger, run, turn
from atlas_mcp.watch.calls import hashed_caller

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)

NOW = datetime.now(UTC)
OTHER = "key:somebody"


@pytest.fixture
def spent(home: Path) -> str:
    """A home in which its own caller and another spent something; the id of its own caller."""
    own = f"local:{open_home(home).local_id}"
    open_home(home).prepare_databases()
    anyio.run(_spend, home, own)
    return own


async def _spend(home: Path, own: str) -> None:
    async with open_record(home, None) as record:
        for caller, run_id, goal, project in (
            (own, "run_1", "How was the light kept?", "tower"),
            (OTHER, "run_2", "A secret plan", "conspiracy"),
        ):
            async with record.write(caller) as db:
                await db.execute(insert(run), _run(caller, run_id, goal, project))
        for turn_id, caller, run_id, agent, tokens, usd, ago in (
            ("t1", own, "run_1", "web_researcher", 1_000, 0.25, 0),
            ("t2", own, "run_1", "document_researcher", 500, 0.5, 0),
            ("t3", own, None, "librarian", 100, None, 1),
            ("t4", OTHER, "run_2", "librarian", 300, 0.125, 0),
            ("t5", own, None, "librarian", 9_000, 9.0, 30),
        ):
            day = (NOW - timedelta(days=ago)).date().isoformat()
            entry = {"turn": turn_id, "caller": caller, "run_id": run_id, "day": day, "model": "acme/m"}
            async with record.write(caller) as db:
                await db.execute(insert(turn), _turn(turn_id, caller, run_id, agent))
                # reserved first, then put right, as the ledger does
                await db.execute(insert(ledger), {**entry, "turns": 1, "tokens": tokens + 50, "usd": usd})
                await db.execute(insert(ledger), {**entry, "turns": 0, "tokens": -50, "usd": usd and 0.0})


def _run(caller: str, run_id: str, goal: str, project: str) -> dict[str, Any]:
    given = {"caller": {"id": caller}, "input": {"goal": goal, "project": project}}
    return {
        "id": run_id,
        "caller": caller,
        "kind": "team_task",
        "status": "completed",
        "goal": goal,
        "input": given,
        "progress": {},
        "usage": {},
        "needs": [],
        "created_at": NOW,
        "updated_at": NOW,
    }


def _turn(turn_id: str, caller: str, run_id: str | None, agent: str) -> dict[str, Any]:
    return {
        "id": turn_id,
        "key": turn_id,
        "caller": caller,
        "agent": agent,
        "conversation": "c",
        "run_id": run_id,
        "message": "m",
        "status": "done",
        "started_at": NOW,
        "finished_at": NOW,
    }


def told(*arguments: str, code: int = 0) -> str:
    whole = [sys.executable, "-m", "atlas_mcp", "costs", *arguments]
    done = subprocess.run(whole, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def lines(by: str) -> dict[str, tuple[int, int, float, int]]:
    found = json.loads(told("--by", by, "--json"))
    assert found["by"] == by
    total = found["total"]
    assert (total["turns"], total["tokens"], total["usd"], total["unpriced_tokens"]) == (4, 1_900, 0.875, 100)
    return {one["name"]: (one["turns"], one["tokens"], one["usd"], one["unpriced_tokens"]) for one in found["lines"]}


def test_costs_are_added_up_by_agent_team_caller_model_and_day(spent: str) -> None:
    assert lines("agent") == {
        "document_researcher": (1, 500, 0.5, 0),
        "web_researcher": (1, 1_000, 0.25, 0),
        "librarian": (2, 400, 0.125, 100),
    }
    assert lines("team") == {"research": (2, 1_500, 0.75, 0), "(no team)": (2, 400, 0.125, 100)}
    assert lines("caller") == {spent: (3, 1_600, 0.75, 100), hashed_caller(OTHER): (1, 300, 0.125, 0)}
    assert lines("model") == {"acme/m": (4, 1_900, 0.875, 100)}
    yesterday = (NOW - timedelta(days=1)).date().isoformat()
    assert lines("day") == {yesterday: (1, 100, 0.0, 100), NOW.date().isoformat(): (3, 1_800, 0.875, 0)}


@pytest.mark.usefixtures("spent")
def test_tasks_and_projects_of_others_are_counted_and_not_named() -> None:
    assert lines("task") == {"run_1": (2, 1_500, 0.75, 0), "run_2": (1, 300, 0.125, 0), "(chats)": (1, 100, 0.0, 100)}
    assert lines("project") == {
        "tower": (2, 1_500, 0.75, 0),
        "(other callers' projects)": (1, 300, 0.125, 0),
        "(no project)": (1, 100, 0.0, 100),
    }
    shown = told("--by", "task")
    assert "How was the light kept?" in shown
    assert "0.8750" in shown
    assert "secret" not in shown + told("--by", "project")
    assert "9.8750" in told("--since", "60d", "--by", "day")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("--by", "moon"), "agent, team, task"),
        (("--since", "12h"), "number of days"),
        (("--since", "0d"), "number of days"),
        (("--since", "99999d"), "number of days"),
    ],
)
def test_what_is_no_way_to_add_up_is_told(arguments: tuple[str, ...], says: str) -> None:
    assert says in told(*arguments, code=2)


def test_a_home_that_spent_nothing_says_so() -> None:
    assert "Nothing was spent" in told()
