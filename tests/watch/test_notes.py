"""Notes on their way: told here, found in MLflow by its own client, in another process."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.later import FILE, PATIENCE_SECONDS
from atlas_mcp.watch.notes import FeedbackNote, MetricsNote, PromptNote, RunNote, Step, tell
from atlas_mcp.watch.sidecar import start_ingest
from atlas_mcp.watch.spans import current_trace_id, span
from atlas_mcp.watch.spool import anything_waits, waiting
from atlas_mcp.watch.state import load_state
from atlas_mcp.watch.tracing import Tracing, open_tracing
from tests.watch.books import in_mlflow

pytestmark = pytest.mark.timeout(300)

Ingest = Callable[..., subprocess.CompletedProcess[str]]

RUN = RunNote(
    key="run_1",
    name="What is tea?",
    status="completed",
    started_ms=1_700_000_000_000,
    ended_ms=1_700_000_060_000,
    params={"goal": "What is tea?", "budget.tokens": "9000"},
    metrics={"seconds": 60.0, "tokens": 900.0, "odd": float("nan")},
    steps=[Step(name="rating", step=1, value=3.0), Step(name="rating", step=2, value=4.5)],
    tags={"atlas.status": "completed", "api_key": "not for anybody"},
    artifacts={"result.md": "# Tea\nIt is grün, sk-abcdefghijklmnop12345.\n"},
    user="user-1",
)
CHILD = RunNote(
    key="run_1/writer", name="writer", status="failed", started_ms=1, ended_ms=2, parent="run_1", metrics={"turns": 2}
)
HEALTH = MetricsNote(key="health/1", series="health", values={"queue": 3.0}, at_ms=1_700_000_000_000)
PROMPT = PromptNote(key="persona.writer/1", name="persona.writer", version=1, text="You write.", promoted=True)


def verdict(trace_id: str, key: str = "f1") -> FeedbackNote:
    return FeedbackNote(
        key=key,
        trace_id=trace_id,
        name="helpful",
        value=True,
        rationale="It was.",
        source="human",
        source_id="user-1",
        at_ms=1_700_000_000_000,
    )


def test_every_kind_of_note_arrives_once_however_often_it_is_told(
    ready_home: Path, ingest: Ingest, database: str
) -> None:
    home = ready_home
    with open_tracing(home) as tracing:
        with span("team task") as opened:
            trace = str(current_trace_id())
            opened.set_attribute("atlas.prompts", ["persona.writer/1", "no prompt at all"])
        everything = (
            RUN.model_copy(update={"trace_ids": [trace]}),
            CHILD,
            verdict(trace),
            HEALTH,
            HEALTH.model_copy(update={"key": "health/2", "at_ms": HEALTH.at_ms + 60_000, "values": {"queue": 5.0}}),
            PROMPT,
        )
        tell(verdict(trace).model_copy(update={"value": False, "rationale": "It was not."}))  # and thought better of it
        for _ in range(2):
            assert all(tell(note) for note in everything)
            tracing.flush(60)
    assert ingest(home).returncode == 0
    with open_tracing(home):  # as though the carrier had died before it could remove the file
        assert all(tell(note) for note in everything)
    assert ingest(home).returncode == 0
    state = load_state(home / "spool")
    assert (state.spans, state.notes, state.refused_notes) == (1, 19, 0)
    assert not anything_waits(home / "spool")

    found = in_mlflow(database)
    runs = {run["name"]: run for run in found["runs"]}
    assert sorted(run["name"] for run in found["runs"]) == ["What is tea?", "health", "writer"]
    run = runs["What is tea?"]
    assert (run["status"], run["began"], run["ended"]) == ("FINISHED", RUN.started_ms, RUN.ended_ms)
    assert run["params"] == {"goal": "What is tea?", "budget.tokens": "9000"}
    assert run["metrics"] == {"seconds": 60.0, "tokens": 900.0, "rating": 4.5}
    assert run["history"]["rating"] == [[1, 3.0], [2, 4.5]]
    assert run["tags"]["mlflow.user"] == "user-1"
    assert run["tags"]["api_key"] == "[redacted]"
    assert run["files"] == {"result.md": "# Tea\nIt is grün, [redacted].\n"}
    assert run["traces"] == [trace]
    assert runs["writer"]["tags"]["mlflow.parentRunId"] == run["id"]
    assert runs["writer"]["status"] == "FAILED"
    assert [value for _, value in runs["health"]["history"]["queue"]] == [3.0, 5.0]
    assert found["feedback"] == [[trace, "helpful", True, "It was.", "HUMAN", "user-1", HEALTH.at_ms]]
    assert found["prompts"] == {"persona.writer": ["You write."]}
    assert found["in use"] == {"persona.writer": "You write."}
    assert found["asked with"] == {"persona.writer/1": [trace]}


def test_feedback_waits_for_its_trace_and_is_given_up_after_a_day(
    ready_home: Path, ingest: Ingest, database: str
) -> None:
    home = ready_home
    with open_tracing(home), span("late"):
        trace = str(current_trace_id())
        tell(verdict(trace))
        tell(verdict("tr-" + "0" * 32, "never"))
        tell(HEALTH)
    late, *more = (file.path for file in waiting(home / "spool"))  # one file, or two: the notes go ahead
    head = late.read_text().splitlines()[0]
    lines = [line for file in (late, *more) for line in file.read_text().splitlines()[1:]]
    spans, notes = (
        [line for line in lines if '"trace"' in line],
        [line for line in lines if '"note"' in line],
    )
    assert (len(spans), len(notes)) == (1, 3)
    for file in more:
        file.unlink()
    late.write_text("\n".join((json.dumps({**json.loads(head), "spans": 3}), *notes, "")))
    assert ingest(home).returncode == 0
    assert load_state(home / "spool").notes == 1, "what waits held up the others"
    assert len((home / "spool" / FILE).read_text().splitlines()) == 2

    late.parent.mkdir(exist_ok=True)
    late.write_text("\n".join((json.dumps({**json.loads(head), "spans": 1}), *spans, "")))
    assert ingest(home).returncode == 0
    assert [row[:2] for row in in_mlflow(database)["feedback"]] == [[trace, "helpful"]]

    rows = [json.loads(line) for line in (home / "spool" / FILE).read_text().splitlines()]
    assert [row["note"]["key"] for row in rows] == ["never"]
    old = json.dumps({**rows[0], "since": time.time() - PATIENCE_SECONDS - 1})
    (home / "spool" / FILE).write_text(f"{old}\n")
    with open_tracing(home), span("another"):
        pass
    assert ingest(home).returncode == 0
    assert load_state(home / "spool").refused_notes == 1
    assert (home / "spool" / FILE).read_text() == ""
    assert "never" in next((home / "spool" / "aside").iterdir()).read_text()


def test_a_note_that_mlflow_refuses_holds_up_nothing(ready_home: Path, ingest: Ingest) -> None:
    home = ready_home
    with open_tracing(home):
        tell(PROMPT.model_copy(update={"name": "no/such: name", "key": "bad"}))
        tell(HEALTH)
        with span("after it"):
            pass
    assert ingest(home).returncode == 0
    state = load_state(home / "spool")
    assert (state.spans, state.notes, state.refused_notes, state.error) == (1, 1, 1, None)
    assert "no/such" in next((home / "spool" / "aside").iterdir()).read_text()


def test_a_carrier_killed_among_its_notes_loses_and_doubles_nothing(ready_home: Path, ingest: Ingest) -> None:
    home = ready_home
    with open_tracing(home):
        for n in range(60):
            tell(RUN.model_copy(update={"key": f"run_{n}", "name": f"run {n}"}))
    carrier = start_ingest(home, Destination(), "--once")
    deadline = time.monotonic() + 120
    while len(list(home.glob("artifacts/*/*"))) < 5:
        assert time.monotonic() < deadline
        assert carrier.poll() is None, "it ended before it could be killed"
        time.sleep(0.01)
    carrier.kill()
    carrier.wait()
    assert anything_waits(home / "spool")
    assert ingest(home).returncode == 0
    found = in_mlflow(f"sqlite:///{home / 'mlflow.db'}")["runs"]
    assert sorted(run["name"] for run in found) == sorted(f"run {n}" for n in range(60))
    assert {run["status"] for run in found} == {"FINISHED"}
    assert {tuple(run["files"]) for run in found} == {("result.md",)}
    assert {len(run["history"]["rating"]) for run in found} == {2}


def test_telling_raises_nothing_and_says_whether_anybody_listens(home: Path) -> None:
    assert not tell(HEALTH)
    with open_tracing(home) as tracing:
        assert tell(HEALTH)
        huge = RUN.model_copy(update={"artifacts": {"journal.jsonl": "x" * 10_000_000}})
        assert tell(huge)
        assert not tell(RUN.model_copy(update={"params": {"goal": 3}}))  # what no type checker would let pass
        tracing.flush(60)
    assert sum(file.size for file in waiting(home / "spool")) < 200_000
    assert not tell(HEALTH)


def test_a_note_that_does_not_fit_on_the_disk_is_counted_as_lost(home: Path) -> None:
    tracing: Tracing
    with open_tracing(home, spool_bytes=10) as tracing:
        tell(HEALTH)
        assert tracing.flush(60)
        assert tracing.counts.lost == 1
