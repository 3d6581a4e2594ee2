"""Runs of a real house, told to MLflow beside everything else, and read back through MLflow's own client."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from atlas_mcp import _run_notes
from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.run import ENDED, Run
from atlas_mcp.model.task import TeamTask
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.run_notes import parallel_efficiency
from atlas_mcp.watch.series import Hours
from atlas_mcp.watch.sidecar import Sidecar
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import good_answer
from tests.watch.books import in_mlflow
from tests.watch.conftest import no_carrier_of_its_own

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(600)]

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def _model(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: dict[str, Any]) -> dict[str, Any]:
        return {"json": good_answer(last_user_text(request))}

    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": answer})
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setattr(_run_notes, "LOOK_SECONDS", 0.2)


def notes_in(home: Path) -> list[dict[str, Any]]:
    """The notes on runs in the spool, the oldest first."""
    files = sorted((home / "spool").rglob("*.spans"), key=lambda file: file.name)
    rows = [json.loads(line) for file in files for line in file.read_text().splitlines()]
    return [row["note"] for row in rows if row.get("kind") == "run"]


def told(home: Path, run_id: str) -> bool:
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        return record.execute("SELECT told_at FROM run WHERE id = ?", (run_id,)).fetchone()[0] is not None


async def until_told(home: Path, run_id: str) -> None:
    while not told(home, run_id):  # noqa: ASYNC110 - what is waited for is on disk
        await anyio.sleep(0.05)


async def a_task(atlas: Atlas) -> Run:
    task = TeamTask(goal="How was the light kept?", project="tower", max_rounds=1, budget=Budget(tokens=900_000))
    run = await atlas.run_team_task(atlas.local_caller(), task, wait_seconds=0)
    return await ended(atlas, run.run_id)


async def ended(atlas: Atlas, run_id: str) -> Run:
    while (run := await atlas.get_run(atlas.local_caller(), run_id)).status not in ENDED:
        pass  # it waits for news by itself
    return run


@pytest.mark.usefixtures("_model")
async def test_a_team_task_is_a_run_of_mlflow_with_a_run_for_each_agent_below_it(
    home: Path, ingest: Callable[..., subprocess.CompletedProcess[str]], database: str
) -> None:
    with anyio.fail_after(200), no_carrier_of_its_own(home):
        async with open_atlas(load_settings()) as atlas:
            run = await a_task(atlas)
            rating = await atlas.rate_text(atlas.local_caller(), "The light was kept with oil.")
            assert rating.run_id
            for run_id in (run.run_id, rating.run_id):
                await until_told(home, run_id)
            caller = atlas.local_caller()
    assert run.status == "completed", run.error
    assert run.result is not None
    assert (await anyio.to_thread.run_sync(ingest, home)).returncode == 0
    found = await anyio.to_thread.run_sync(in_mlflow, database)
    whole = [one for one in found["runs"] if one["tags"].get("atlas.kind") not in (None, "agent")]
    runs = {one["tags"]["atlas.run_id"]: one for one in whole}
    assert set(runs) == {run.run_id, rating.run_id}
    task = runs[run.run_id]
    assert (task["name"], task["status"]) == (run.goal, "FINISHED")
    assert task["tags"]["mlflow.user"] == hashed_caller(caller.id)
    assert caller.id not in json.dumps(found)
    assert task["params"]["goal"] == run.goal
    assert task["params"]["project"] == "tower"
    assert task["params"]["budget.tokens"] == "900000"
    assert "scripted-1" in task["params"]["models"]
    assert run.plan is not None
    assert {part.team for part in run.plan.parts} <= {team.strip() for team in task["params"]["teams"].split(",")}
    assert task["metrics"]["turns"] == run.usage.turns
    assert task["metrics"]["tokens"] == run.usage.input_tokens + run.usage.output_tokens
    assert task["metrics"]["rounds"] == run.result.rounds
    assert 0 < task["metrics"]["parallel_efficiency"] <= 1
    assert {"seconds", "errors", "escalations", "agents"} <= task["metrics"].keys()
    assert [step for step, _ in task["history"]["rating"]] == [*range(1, run.result.rounds + 1)]
    assert task["files"]["result.md"] == run.result.output
    assert json.loads(task["files"]["plan.json"])["parts"]
    assert "run_finished" in task["files"]["journal.tsv"]
    assert set(task["traces"]) >= {run.trace_id}

    below = [one for one in found["runs"] if one["tags"].get("mlflow.parentRunId") == task["id"]]
    assert sum(one["metrics"]["turns"] for one in below) == run.usage.turns
    assert sum(one["metrics"]["tokens"] for one in below) == task["metrics"]["tokens"]
    assert {one["name"] for one in below} == {e.actor for e in run.events if e.type == "turn_started"}
    assert all(len(one["history"]["turn_seconds"]) == one["metrics"]["turns"] for one in below)
    assert all(one["traces"] for one in below)
    assert len(below) == task["metrics"]["agents"]


@pytest.mark.usefixtures("_model")
async def test_what_a_process_that_died_did_not_tell_is_told_once_by_the_next(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Sidecar, "attend", lambda _: None)  # else a carrier takes the notes from the spool
    with anyio.fail_after(200):
        with monkeypatch.context() as dying:
            dying.setattr(_run_notes, "LOOK_SECONDS", 10_000.0)
            async with open_atlas(load_settings()) as atlas:
                run = await a_task(atlas)
        assert not told(home, run.run_id)
        assert notes_in(home) == []
        monkeypatch.setattr(_run_notes, "LEFT_SECONDS", 0.0)
        async with open_atlas(load_settings()) as atlas:
            await atlas.list_runs(atlas.local_caller())
            await until_told(home, run.run_id)
        async with open_atlas(load_settings()) as atlas:
            other = await atlas.rate_text(atlas.local_caller(), "It burned all night.")
            assert other.run_id
            await until_told(home, other.run_id)
    tasks = [note["key"] for note in notes_in(home) if "parent" not in note]
    assert tasks == [run.run_id, other.run_id]


@pytest.mark.usefixtures("_model")
async def test_agents_and_teams_have_their_figures_hour_by_hour(home: Path) -> None:
    with anyio.fail_after(200):
        async with open_atlas(load_settings()) as atlas:
            before = datetime.now(UTC)
            await atlas.chat(atlas.local_caller(), "web_researcher", "Good day")
            run = await a_task(atlas)
            rooms = await atlas._keeper.rooms()
            later = datetime.now(UTC) + timedelta(hours=1, minutes=10)
            hours = Hours()
            async with rooms.record.read() as db:
                told = await hours.due(db, later, lambda agent: _run_notes.team_of(rooms, agent))
                assert await hours.due(db, later, lambda agent: "") == []
    if before.hour == (later - timedelta(hours=1, minutes=10)).hour:
        assert [note.series for note in told] == ["agents", "teams"]
    agents = [note.values for note in told if note.series == "agents"]
    teams = [note.values for note in told if note.series == "teams"]
    assert sum(v for values in agents for name, v in values.items() if name.endswith("/turns")) == run.usage.turns + 1
    assert sum(values.get("web_researcher/turns", 0) for values in agents) >= 1
    assert sum(values.get("research/turns", 0) for values in teams) >= 2
    assert any(1 <= values.get("research/rating", 0) <= 5 for values in teams)


def test_parallel_efficiency_is_the_share_of_the_places_that_worked() -> None:
    def at(*stretches: tuple[int, int]) -> float | None:
        return parallel_efficiency([(NOON + timedelta(seconds=b), NOON + timedelta(seconds=e)) for b, e in stretches])

    assert at() is None
    assert at((0, 10)) == 1.0
    assert at((0, 10), (0, 10)) == 1.0
    assert at((0, 10), (0, 5)) == pytest.approx(0.75)
    assert at((0, 10), (20, 30)) == 1.0
    assert at((0, 10), (10, 20)) == 1.0
    assert at((5, 5)) is None
