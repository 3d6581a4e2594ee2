"""Making the home's own database smaller: by the command, and by the carrier once a day."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.watch.notes import FeedbackNote, MetricsNote, RunNote, tell
from atlas_mcp.watch.page import Page
from atlas_mcp.watch.pruning import amount, prune_daily
from atlas_mcp.watch.spans import current_trace_id, span
from atlas_mcp.watch.state import load_state, save_state
from atlas_mcp.watch.tracing import open_tracing

pytestmark = pytest.mark.timeout(300)

DAY = 86_400.0
Ingest = Callable[..., subprocess.CompletedProcess[str]]
Stored = Callable[[str], list[dict[str, Any]]]


def command(*words: str, says: str = "") -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "atlas_mcp", "traces", "prune", *words]
    return subprocess.run(line, input=says, capture_output=True, text=True, check=False)


def work(name: str, days_ago: float, words: str = "") -> None:
    """A trace with feedback, a run with artifacts and a value of a series, all from then."""
    then = int((time.time() - days_ago * DAY) * 1_000)
    with span(name, "TOOL", {"words": words}), span("step"):
        trace = str(current_trace_id())
    note = FeedbackNote(
        key=f"f-{name}", trace_id=trace, name="good", value=True, source="human", source_id="", at_ms=then
    )
    assert tell(note)
    assert tell(
        RunNote(
            key=f"run-{name}",
            name=name,
            status="completed",
            started_ms=then - 1,
            ended_ms=then,
            params={"goal": name},
            metrics={"seconds": 1.0},
            artifacts={"result.md": "what came out"},
            trace_ids=[trace],
        )
    )
    assert tell(MetricsNote(key=f"m-{name}", series="health", values={"agents": 1.0}, at_ms=then))


def make_old(home: Path, name: str, days: float) -> None:
    """As if the trace had begun so long ago: a span takes its times from the clock."""
    with closing(sqlite3.connect(home / "mlflow.db", isolation_level=None)) as db:
        db.execute(
            "UPDATE trace_info SET timestamp_ms = timestamp_ms - ? WHERE trace_name = ?", (days * DAY * 1_000, name)
        )


def rows(home: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(home / "mlflow.db")) as db:
        return [row[0] for row in db.execute(query)]


@pytest.fixture
def filled(ready_home: Path, ingest: Ingest) -> Path:
    """A home with something of today, and something 40 days old."""
    with open_tracing(ready_home):
        work("old", 40)
        work("new", 0)
    assert ingest(ready_home).returncode == 0
    make_old(ready_home, "old", 40)
    return ready_home


def test_what_is_older_goes_with_all_that_belongs_to_it_and_what_is_not_stays_whole(
    filled: Path, stored_traces: Stored, database: str
) -> None:
    assert len(list((filled / "artifacts").rglob("result.md"))) == 2
    done = command("--older-than", "30d", "--yes")
    assert done.returncode == 0, done.stderr
    assert "Deleted 1 traces, 1 runs and" in done.stdout
    left = stored_traces(database)
    assert [(trace["name"], len(trace["spans"])) for trace in left] == [("new", 2)]
    for table, column in (("spans", "trace_id"), ("trace_tags", "request_id"), ("assessments", "trace_id")):
        assert set(rows(filled, f"SELECT {column} FROM {table}")) == {left[0]["id"]}, table
    assert rows(filled, "SELECT value FROM params WHERE key = 'goal'") == ["new"]
    assert len(list((filled / "artifacts").rglob("result.md"))) == 1
    assert min(rows(filled, "SELECT timestamp FROM metrics")) > (time.time() - DAY) * 1_000
    assert rows(filled, "PRAGMA integrity_check") == ["ok"]
    assert rows(filled, "SELECT count(*) FROM pragma_foreign_key_check") == [0]


def test_it_asks_first_and_nothing_is_deleted_without_a_yes(filled: Path) -> None:
    done = command("--older-than", "30d", says="n\n")
    assert "1 of 2 traces" in done.stdout
    assert "Nothing was deleted." in done.stdout
    assert amount(filled).traces == 2


def test_the_oldest_go_while_more_is_in_use_and_the_disk_gets_the_room_back(ready_home: Path, ingest: Ingest) -> None:
    home = ready_home
    with open_tracing(home) as tracing:
        for n in range(600):
            with span(f"call{n:03d}", "TOOL", {"words": "some words " * 400}):
                pass
        assert tracing.flush(60)
    assert ingest(home).returncode == 0
    times = rows(home, "SELECT timestamp_ms FROM trace_info ORDER BY timestamp_ms")
    limit = amount(home).used_bytes - 1_500_000
    done = command("--larger-than", f"{limit / 1e6:.3f}MB", "--yes")
    assert done.returncode == 0, done.stderr
    left = rows(home, "SELECT timestamp_ms FROM trace_info ORDER BY timestamp_ms")
    assert 0 < len(left) < 600
    assert left == times[-len(left) :], "others than the oldest are gone"
    assert amount(home).used_bytes <= limit
    assert (home / "mlflow.db").stat().st_size <= limit, "the file is as large as before"


def test_a_size_that_traces_alone_cannot_reach_is_told(filled: Path) -> None:
    done = command("--larger-than", "1KB", "--yes")
    assert done.returncode == 0
    assert "in use by other things than traces" in done.stdout
    assert amount(filled).traces == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--older-than", "3x"], "--older-than: '3x' is not a length of time. Give a number with"),
        (["--older-than", "-3d"], "is not a length of time"),
        (["--larger-than", "big"], "--larger-than: 'big' is not an amount. Write a number and MB or GB, such as 2GB."),
    ],
)
def test_an_amount_that_is_none_is_refused_with_what_would_be_right(words: list[str], said: str) -> None:
    done = command(*words, "--yes")
    assert done.returncode == 2
    assert said in done.stderr


def test_traces_that_are_kept_elsewhere_are_left_to_their_keeper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:hunter22@127.0.0.1:9")
    done = command("--older-than", "30d", "--yes")
    assert done.returncode == 2
    assert "the traces are kept at http://127.0.0.1:9" in done.stderr
    assert "hunter22" not in done.stderr


def test_the_carrier_prunes_once_a_day_and_never_at_a_clock_that_may_have_jumped(filled: Path) -> None:
    spool = filled / "spool"

    def last(ago: float) -> None:
        save_state(spool, load_state(spool).model_copy(update={"pruned_at": time.time() - ago}))

    for ago in (time.time(), DAY / 2, 400 * DAY, -5 * DAY):  # never yet, just now, a year, and five days from now
        last(ago)
        prune_daily(filled, 30)
        assert amount(filled).traces == 2
    last(2 * DAY)
    prune_daily(filled, 0)
    assert amount(filled).traces == 2, "0 is for ever"
    prune_daily(filled, 30)
    assert rows(filled, "SELECT trace_name FROM trace_info") == ["new"]
    assert time.time() - load_state(spool).pruned_at < DAY


def test_a_carrier_at_work_prunes_by_the_age_of_the_settings(filled: Path, ingest: Ingest) -> None:
    make_old(filled, "old", 60)  # the settings say 90 days
    spool = filled / "spool"
    save_state(spool, load_state(spool).model_copy(update={"pruned_at": time.time() - 2 * DAY}))
    assert ingest(filled).returncode == 0
    assert rows(filled, "SELECT trace_name FROM trace_info") == ["new"]


def test_the_page_names_views_whose_filters_are_written_as_mlflows_page_writes_them() -> None:
    views = Page("http://127.0.0.1:5005", "1").views
    assert views["failed runs"] == (
        "http://127.0.0.1:5005/#/experiments/1/traces?startTimeLabel=LAST_30_DAYS"
        "&filter=TAG%3A%3A%3D%3A%3Afailed%3A%3Aatlas.status"
    )
    assert views["task runs"] == "http://127.0.0.1:5005/#/experiments/1/runs"
