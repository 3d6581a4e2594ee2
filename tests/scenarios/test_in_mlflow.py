"""What was played arrives in MLflow: a run for each time, below the one of all of them, linked to its trace."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.model.scenario import Scenario
from atlas_mcp.scenarios.suite import play_all
from atlas_mcp.settings import load_settings
from tests.watch.conftest import carry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)


def scenario(name: str, words: str) -> Scenario:
    piece: dict[str, Any] = {"agent": "librarian", "message": "Hello", "expect": {"contains": [words]}}
    rule = {"replies": [{"text": "Good day."}]}
    return Scenario.model_validate({"name": name, "rules": [rule], "work": [piece]})


def test_each_time_is_a_run_below_the_run_of_all_with_its_figures_and_its_trace(home: Path) -> None:
    scenarios = [scenario("polite", "Good day"), scenario("late", "Good night")]
    played = anyio.run(play_all, load_settings(), scenarios)
    done = carry(home)
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(home / "mlflow.db")) as db:
        ids = {name: (run, status) for name, run, status in db.execute("SELECT name, run_uuid, status FROM runs")}
        figures = dict(db.execute(_FIGURES, [ids["scenario polite"][0]]))
        parents = {row[0] for name in ("polite", "late") for row in db.execute(_PARENT, [ids[f"scenario {name}"][0]])}
        linked = {row[0] for row in db.execute(_LINKED, [ids["scenario polite"][0]])}
        rate = dict(db.execute(_FIGURES, [ids["scenarios"][0]]))["success_rate"]
    assert ids["scenario polite"][1] == "FINISHED"
    assert ids["scenario late"][1] == "FAILED"
    assert parents == {ids["scenarios"][0]}
    assert rate == 0.5
    assert (figures["passed"], figures["turns"], figures["cost_usd"]) == (1.0, 1.0, 0.0)
    assert linked == set(played[0].trace_ids) != set()


_FIGURES = "SELECT key, value FROM latest_metrics WHERE run_uuid = ?"
_PARENT = "SELECT value FROM tags WHERE key = 'mlflow.parentRunId' AND run_uuid = ?"
_LINKED = "SELECT source_id FROM entity_associations WHERE destination_type = 'run' AND destination_id = ?"
