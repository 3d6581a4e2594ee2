"""On the way to a real MLflow server that is restarted, frozen and wrong about itself: each span arrives, once."""

from __future__ import annotations

import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.notes import FeedbackNote, PromptNote, RunNote, tell
from atlas_mcp.watch.sidecar import start_ingest
from atlas_mcp.watch.spans import current_trace_id, span
from atlas_mcp.watch.spool import anything_waits, waiting
from atlas_mcp.watch.state import IngestState, load_state, save_state
from atlas_mcp.watch.tracing import open_tracing
from tests.mlflow_server.conftest import Answer, MlflowServer, Proxy, wait_until
from tests.watch.books import in_mlflow

pytestmark = [
    pytest.mark.timeout(300),
    pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="POSIX signals"),
]

Ingest = Callable[..., subprocess.CompletedProcess[str]]


def work(home: Path, prefix: str, calls: int = 5) -> None:
    """Traces of two spans on disk; nobody carries them by himself, as MLflow is said to have failed just now."""
    (home / "spool").mkdir(parents=True, exist_ok=True)
    state = load_state(home / "spool")
    save_state(home / "spool", state.model_copy(update={"retry_at": time.time() + 3_600}))
    with open_tracing(home) as tracing:
        for n in range(calls):
            with span(f"{prefix}{n}", "TOOL", {"n": n}), span("step"):
                pass
            assert tracing.flush(60)


def arrived(mlflow: MlflowServer, before: dict[str, list[str]]) -> list[list[str]]:
    return sorted(names for trace, names in mlflow.spans().items() if trace not in before)


def test_mlflow_restarted_in_the_middle_gets_what_came_before_and_after(
    home: Path, mlflow: MlflowServer, ingest: Ingest
) -> None:
    before = mlflow.spans()
    work(home, "early")
    assert ingest(home, "--tracking-uri", mlflow.address).returncode == 0
    mlflow.stop()
    work(home, "meanwhile")
    assert ingest(home, "--tracking-uri", mlflow.address).returncode == 1
    assert "Connect" in (load_state(home / "spool").error or "")
    mlflow.start()
    work(home, "late")
    assert ingest(home, "--tracking-uri", mlflow.address).returncode == 0
    expected = [[f"{when}{n}", "step"] for when in ("early", "late", "meanwhile") for n in range(5)]
    assert arrived(mlflow, before) == expected
    assert load_state(home / "spool").error is None


def test_a_carrier_killed_while_mlflow_takes_its_spans_doubles_and_loses_none(
    home: Path, mlflow: MlflowServer, proxy: Proxy, ingest: Ingest
) -> None:
    before = mlflow.spans()
    work(home, "call")
    # The first carrier knows MLflow already; then the answer to what it sends never comes.
    assert ingest(home, "--tracking-uri", proxy.address).returncode == 0
    work(home, "more")
    proxy.passes = 1
    proxy.says = Answer(500, after=threading.Event(), passed_on=True)
    carrier = start_ingest(home, Destination(tracking_uri=proxy.address))
    assert proxy.held.wait(200)
    carrier.kill()
    carrier.wait()
    assert proxy.says.after
    proxy.says.after.set()
    assert len(waiting(home / "spool")) == 5
    proxy.says = Answer()
    assert ingest(home, "--tracking-uri", proxy.address).returncode == 0
    expected = [[f"{when}{n}", "step"] for when in ("call", "more") for n in range(5)]
    assert arrived(mlflow, before) == expected


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (Answer(503, b"restarting"), "503"),
        (Answer(401, b"who are you"), "401"),
        (Answer(200, b"<html>some other program</html>"), "does not answer as an MLflow server does"),
        (Answer(200, b'{"experiment": null}'), "does not answer as an MLflow server does"),
    ],
    ids=["503", "401", "html", "null"],
)
def test_an_address_that_answers_otherwise_takes_nothing_and_says_why(
    home: Path, proxy: Proxy, mlflow: MlflowServer, ingest: Ingest, answer: Answer, told: str
) -> None:
    before = mlflow.spans()
    work(home, "call", 1)
    proxy.says = answer
    assert ingest(home, "--tracking-uri", proxy.address).returncode == 1
    assert told in (load_state(home / "spool").error or "")
    assert anything_waits(home / "spool")
    proxy.says = Answer()
    assert ingest(home, "--tracking-uri", proxy.address).returncode == 0
    assert arrived(mlflow, before) == [["call0", "step"]]


def test_one_that_opens_and_then_takes_nothing_is_left_alone_longer_each_time(
    home: Path, proxy: Proxy, ingest: Ingest
) -> None:
    work(home, "call", 1)
    save_state(home / "spool", IngestState())
    pauses: list[float] = []
    for _ in range(3):
        proxy.passes = 1  # the experiment is found
        proxy.says = Answer(500, b"disk full")
        assert ingest(home, "--tracking-uri", proxy.address).returncode == 1
        state = load_state(home / "spool")
        pauses.append(round(state.retry_at - state.at))
    assert pauses == [15, 30, 60]


def test_a_frozen_mlflow_goes_on_where_it_was(home: Path, mlflow: MlflowServer, ingest: Ingest) -> None:
    before = mlflow.spans()
    work(home, "call")
    mlflow.freeze()
    carrier = start_ingest(home, Destination(tracking_uri=mlflow.address))
    wait_until(lambda: (home / "locks").exists())
    assert len(waiting(home / "spool")) == 5
    mlflow.start()
    # This carrier may have waited it out, or given up; the next one finds the rest.
    wait_until(lambda: not anything_waits(home / "spool") or carrier.poll() is not None)
    carrier.terminate()
    carrier.wait()
    assert ingest(home, "--tracking-uri", mlflow.address).returncode == 0
    assert arrived(mlflow, before) == [[f"call{n}", "step"] for n in range(5)]


def test_runs_feedback_series_and_prompts_arrive_at_a_server_too(
    home: Path, mlflow: MlflowServer, ingest: Ingest
) -> None:
    with open_tracing(home) as tracing:
        with span("asked") as opened:
            trace = str(current_trace_id())
            opened.set_attribute("atlas.prompts", ["persona.served/1"])
        run = RunNote(
            key="run_served",
            name="Serve tea",
            status="completed",
            started_ms=1_700_000_000_000,
            ended_ms=1_700_000_060_000,
            params={"goal": "Serve tea"},
            metrics={"seconds": 60.0},
            artifacts={"result.md": "# Tea"},
            trace_ids=[trace],
        )
        good = FeedbackNote(
            key="f-served",
            trace_id=trace,
            name="helpful",
            value=True,
            source="human",
            source_id="u",
            at_ms=run.ended_ms,
        )
        prompt = PromptNote(key="persona.served/1", name="persona.served", version=1, text="You serve.", promoted=True)
        for _ in range(2):
            assert all(tell(note) for note in (run, good, prompt))
        assert tracing.flush(60)
    # An experiment that the server made itself: it keeps the artifacts of those, and hands them out.
    assert ingest(home, "--tracking-uri", mlflow.address, "--experiment", "served").returncode == 0
    found = in_mlflow(mlflow.address, "served")
    [served] = [one for one in found["runs"] if one["name"] == "Serve tea"]
    assert (served["params"], served["metrics"]) == ({"goal": "Serve tea"}, {"seconds": 60.0})
    assert (served["files"], served["traces"]) == ({"result.md": "# Tea"}, [trace])
    assert [one[1:3] for one in found["feedback"] if one[0] == trace] == [["helpful", True]]
    assert found["in use"]["persona.served"] == "You serve."
    assert found["asked with"]["persona.served/1"] == [trace]
