"""`atlas-mcp eval` as people use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.cli import app
from atlas_mcp.model.example import ExampleSet
from atlas_mcp.watch.evaluation import files
from tests.evaluation.world import GOOD, chat

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(240)


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command on the test's home, with nobody at its terminal."""
    return subprocess.run(
        [sys.executable, "-m", "atlas_mcp", "eval", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        timeout=200,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A set of one example, as a file."""
    path = tmp_path / "set.toml"
    files.write(path, ExampleSet(name="default", examples=(chat(1),)))
    return path


def test_a_set_from_a_file_is_run_kept_compared_and_shown(
    file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    persona = tmp_path / "terse.md"
    persona.write_text(GOOD, encoding="utf-8")
    assert app.run(["eval", "import", str(file)]) == 0
    first = run("run", "--name", "first", "--json")
    assert first.returncode == 0, first.stderr
    told = json.loads(first.stdout)
    assert [attempt["status"] for attempt in told["attempts"]] == ["completed"]
    assert told["attempts"][0]["ratings"]
    assert "of models that cost nothing" in first.stderr
    second = run("run", "--name", "second", "--persona", f"librarian={persona}")
    assert second.returncode == 0, second.stderr
    assert "Kept as second" in second.stdout
    assert app.run(["eval", "compare", "first", "second"]) == 0
    assert "With fewer than 6 examples no difference can be told" in " ".join(capsys.readouterr().out.split())
    assert app.run(["eval", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert {one["name"] for one in listed["evaluations"]} == {"first", "second"}
    assert len(listed["examples"]) == 1


def test_what_costs_money_is_not_begun_where_nobody_can_be_asked(file: Path, tmp_path: Path) -> None:
    key = {"OPENAI_API_KEY": "test", "OPENAI_BASE_URL": "http://127.0.0.1:9/v1", "ATLAS_MODEL": "openai:gpt-5"}
    assert app.run(["eval", "import", str(file)]) == 0
    done = run("run", **key)
    assert done.returncode == 2
    assert "--yes" in done.stderr
    assert "1 attempt," in done.stderr
    assert not (tmp_path / "home" / "evaluations").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["add", "run_nope"], "there is no run 'run_nope'"),
        (["run"], "has no examples"),
        (["run", "--model", "nobody:x"], "has no examples"),
        (["run", "--persona", "librarian=/nowhere/x.md"], "cannot be read"),
        (["run", "--persona", "librarian"], "is not AGENT=FILE"),
        (["run", "--roster", "/nowhere/roster.toml"], "there is no file"),
        (["compare", "a", "b"], "there is no evaluation 'a'"),
        (["compare", "now", "now"], "both are 'now'"),
        (["compare", "now", "model="], "says no variant"),
        (["remove", "ex-1"], "there is no example 'ex-1'"),
        (["import", "/nowhere/set.toml"], "cannot be read"),
    ],
    ids=lambda given: " ".join(given) if isinstance(given, list) else "",
)
def test_a_mistake_costs_a_clear_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["eval", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("atlas-mcp: ")
    assert says in told.err
