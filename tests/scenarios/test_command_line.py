"""`atlas-mcp test` as people use it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import pytest

from atlas_mcp.cli import app
from tests.interruptible import interruptible

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(600)
GOOD = """
[[rules]]
replies = [{ text = "Good day to you." }]
[[work]]
agent = "librarian"
message = "Good day."
[work.expect]
contains = ["Good day"]
at_most = { turns = 1 }
"""
BAD = GOOD.replace('contains = ["Good day"]', 'contains = ["Good night"]')
NOWHERE = {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}
"""Nobody takes the traces there: so what MLflow is told stays in the spool, where it can be looked at."""


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """One command on the test's home, with nobody at its terminal."""
    return subprocess.run(
        [sys.executable, "-m", "atlas_mcp", "test", *arguments],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **environment},
        timeout=550,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A scenario that holds."""
    path = tmp_path / "good.toml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def notes(home: Path) -> Iterator[dict[str, Any]]:
    """The runs that MLflow is to be told of."""
    for path in (home / "spool").rglob("*.spans"):
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith('{"note":'):
                note = json.loads(line)
                if note["kind"] == "run":
                    yield note["note"]


def test_the_shipped_scenarios_all_hold(tmp_path: Path) -> None:
    places = tmp_path / "places"
    places.mkdir()
    done = run("--json", TMPDIR=str(places))
    told = json.loads(done.stdout)
    assert {one["scenario"]: one["failures"] for one in told["played"] if one["failures"]} == {}, done.stderr
    assert done.returncode == 0
    assert told["passed"] is True
    assert len(told["scenarios"]) == 12
    assert {one["success_rate"] for one in told["scenarios"]} == {1.0}
    assert all(one["trace_ids"] for one in told["played"])
    assert [place.name for place in places.iterdir() if place.name.startswith("atlas-scenario-")] == []


def test_what_does_not_hold_gives_exit_code_1_and_is_told_in_words_in_xml_and_to_mlflow(
    file: Path, tmp_path: Path, home: Path
) -> None:
    bad, xml = tmp_path / "bad.toml", tmp_path / "junit.xml"
    bad.write_text(BAD, encoding="utf-8")
    done = run(str(file), str(bad), "--junit", str(xml), **NOWHERE)
    assert done.returncode == 1, done.stderr
    assert "bad: the output does not contain 'Good night'; it says: Good day to you." in done.stdout
    assert "1 of 2 hold" in done.stdout
    assert "1/2  good holds" in done.stderr
    suite = ET.parse(xml).getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert {case.get("name"): case.find("failure") is not None for case in suite} == {"good": False, "bad": True}
    told = {note["name"]: note for note in notes(home)}
    assert {"scenarios", "scenario good", "scenario bad"} <= set(told)
    assert told["scenarios"]["metrics"]["success_rate"] == 0.5
    assert told["scenario bad"]["parent"] == told["scenario good"]["parent"] == told["scenarios"]["key"]
    good = told["scenario good"]
    assert (good["status"], good["metrics"]["passed"], good["metrics"]["used"]) == ("completed", 1.0, 1.0)
    assert good["metrics"]["turns"] == 1
    assert good["trace_ids"][0].startswith("tr-")
    assert told["scenario bad"]["status"] == "failed"
    assert "Good night" in told["scenario bad"]["artifacts"]["failures.md"]
    assert not (home / "atlas.db").exists(), "nothing else of the home is touched"


def test_a_scenario_can_be_chosen_and_played_again(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.toml"
    other.write_text(BAD, encoding="utf-8")
    done = run(str(file), str(other), "--only", "good", "--repeat", "2", "--json")
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert [(one["scenario"], one["number"]) for one in told["played"]] == [("good", 1), ("good", 2)]
    assert told["scenarios"][0]["played"] == 2


def test_they_are_listed_with_what_they_are_about(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["test", "--list"]) == 0
    assert "killed-and-resumed" in capsys.readouterr().out
    assert app.run(["test", "--list", "--json", "--only", "three-teams"]) == 0
    [one] = json.loads(capsys.readouterr().out)
    assert one["about"].startswith("Three teams under one plan")


def test_what_costs_money_is_not_begun_where_nobody_can_be_asked(file: Path) -> None:
    done = run(str(file), "--model", "openai:gpt-5", OPENAI_API_KEY="test", OPENAI_BASE_URL="http://127.0.0.1:9/v1")
    assert done.returncode == 2
    assert "--yes" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["/nowhere/a.toml"], "it cannot be read: no such file"),
        (["--only", "nothing"], "there is no scenario 'nothing'. There are: budget-ends"),
        (["--repeat", "0"], "0 is not between 1 and 50"),
        (["--model", "nobody:x"], "no model provider is called 'nobody'"),
        (["--model", "scripted:/nowhere/script.toml"], "the script /nowhere/script.toml of the scripted model cannot"),
    ],
    ids=" ".join,
)
def test_a_mistake_costs_a_clear_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["test", *arguments]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.startswith("atlas-mcp: ")
    assert says in told.err


@pytest.mark.skipif(sys.platform == "win32", reason="no signals between processes there")
def test_ctrl_c_ends_it_and_takes_the_home_away(tmp_path: Path) -> None:
    places, path = tmp_path / "places", tmp_path / "held.toml"
    places.mkdir()
    held = "[[rules]]\nreplies = [{ hold = true }]\n[[work]]\nagent = 'librarian'\nmessage = 'Good day.'\n"
    path.write_text(GOOD.replace('"Good day."', '"Good day!"', 1), encoding="utf-8")
    second = tmp_path / "second.toml"
    second.write_text(held, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", "atlas_mcp", "test", str(path), str(second)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **NOWHERE, "TMPDIR": str(places)},
        preexec_fn=interruptible,
    ) as process:
        assert process.stderr is not None
        assert "1/2  held holds" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=120)
    assert process.returncode == 130, rest
    assert "interrupted" in rest
    assert [place.name for place in places.iterdir() if place.name.startswith("atlas-scenario-")] == []
    assert any(note["name"] == "scenario held" for note in notes(tmp_path / "home")), "what was played is told"
