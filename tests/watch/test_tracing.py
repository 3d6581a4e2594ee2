"""The serving process: nothing is lost silently, nothing waits, and MLflow never comes in."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.spans import current_trace_id, outputs, span
from atlas_mcp.watch.spool import read, spool_bytes, waiting
from atlas_mcp.watch.state import load_state
from atlas_mcp.watch.tracing import open_tracing


def names(home: Path) -> list[str]:
    return [row["name"] for file in waiting(home / "spool") for row in read(file.path).spans]


def run_python(code: str, *arguments: str, **more: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, **more)


def test_a_full_spool_refuses_spans_and_counts_them(home: Path) -> None:
    with open_tracing(home, spool_bytes=20_000) as tracing:
        for _ in range(20):
            for _ in range(10):
                with span("big", "TOOL", "x" * 500):
                    pass
            assert tracing.flush(60)
        counts = tracing.counts
    assert counts.lost > 0
    assert counts.written + counts.lost == 200
    assert spool_bytes(home / "spool") <= 20_000
    assert len(names(home)) == counts.written


def test_a_spool_that_cannot_be_written_costs_traces_only(home: Path) -> None:
    home.mkdir()
    (home / "spool").write_text("in the way")
    with open_tracing(home) as tracing:
        with span("work") as opened:
            outputs(opened, "done")
        assert tracing.flush(60)
        assert tracing.counts.lost == 1


def test_an_orderly_end_writes_what_is_queued(home: Path) -> None:
    with open_tracing(home):
        for n in range(3_000):
            with span(f"s{n}"):
                pass
        began = time.monotonic()
    assert time.monotonic() - began < 20, "the exit waited for something"
    assert len(names(home)) == 3_000


def test_noise_is_not_traced_also_when_others_make_it(home: Path) -> None:
    foreign = trace.get_tracer("mcp-python-sdk")
    with open_tracing(home) as tracing:
        for name in ("ping", "tools/list", "initialize", "notifications/cancelled", "MCP send ping"):
            with foreign.start_as_current_span(name), span("below"):
                pass
        with span("kept"):
            pass
        assert tracing.flush(60)
    assert names(home) == ["kept"]


def test_a_second_home_opened_within_takes_the_spans_until_it_is_closed(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    with open_tracing(one):
        with open_tracing(two), span("inner"):
            pass
        with span("outer"):
            pass
    with span("after"):
        assert current_trace_id() is None
    assert (names(one), names(two)) == (["outer"], ["inner"])


def test_an_address_that_cannot_take_traces_is_refused_at_the_start(home: Path) -> None:
    with (
        pytest.raises(ConfigurationError, match="MLFLOW_TRACKING_URI"),
        open_tracing(home, destination=Destination(tracking_uri="ftp://traces")),
    ):
        pass


_KILLED = """
import os, signal, sys, time
from pathlib import Path
from atlas_mcp.watch.spans import span
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import open_tracing
home = Path(sys.argv[1])
with open_tracing(home):
    for n in range(50):
        with span(f"s{n}"):
            pass
    while sum(len(read(file.path).spans) for file in waiting(home / "spool")) < 50:
        time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
def test_kill_9_loses_nothing_that_the_batch_interval_has_passed(home: Path) -> None:
    killed = run_python(_KILLED, str(home))
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert len(names(home)) == 50


def test_tracing_loads_neither_mlflow_nor_a_network_or_database_library(home: Path) -> None:
    code = """
import sys
from pathlib import Path
import atlas_mcp.watch.calls
from atlas_mcp.watch.spans import span
from atlas_mcp.watch.tracing import open_tracing
with open_tracing(Path(sys.argv[1])) as tracing:
    with span("work", "TOOL", {"a": 1}):
        pass
    assert tracing.flush(60)
loaded = {name.split(".")[0] for name in sys.modules}
print(sorted(loaded & {"mlflow", "httpx", "requests", "sqlalchemy", "google", "fastapi", "pandas", "urllib3"}))
"""
    done = run_python(code, str(home))
    assert done.stdout.strip() == "[]", done.stderr
    assert names(home) == ["work"]


_WITH_SERVER = """
import sys, time
from pathlib import Path
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.spans import span
from atlas_mcp.watch.tracing import open_tracing
took = []
with open_tracing(Path(sys.argv[1]), destination=Destination(tracking_uri=sys.argv[2])):
    for n in range(200):
        began = time.perf_counter()
        with span("call", "TOOL", {"n": n}):
            pass
        took.append(time.perf_counter() - began)
    ended = time.perf_counter()
print(sorted(took)[190], max(took), time.perf_counter() - ended)
"""


@pytest.mark.parametrize("state", ["hangs", "refuses"])
def test_a_tracking_server_that_hangs_or_is_gone_slows_neither_calls_nor_the_exit(home: Path, state: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:  # accepts by its backlog, and never answers
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        if state == "refuses":
            server.close()
        done = run_python(_WITH_SERVER, str(home), address, timeout=120)
    most, slowest, leaving = map(float, done.stdout.split())
    assert most < 0.1, "calls waited"
    # Who waits for a server that does not answer waits for longer than that; a busy machine may stop anybody a while.
    assert slowest < 10, "one call waited"
    assert leaving < 10, "the exit waited"
    assert len(names(home)) == 200


def test_a_server_that_does_not_answer_is_left_alone_for_a_while(home: Path, ingest: Any) -> None:
    address = "http://127.0.0.1:9"  # not one that was free a moment ago: somebody may take it
    with open_tracing(home), span("call"):
        pass
    assert ingest(home, "--tracking-uri", address).returncode == 1
    first = load_state(home / "spool")
    assert ingest(home, "--tracking-uri", address).returncode == 1
    second = load_state(home / "spool")
    assert first.error
    assert "Connect" in first.error
    assert second.retry_at - second.at > first.retry_at - first.at > 10
    assert names(home) == ["call"]


def test_the_carrier_gets_no_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    from atlas_mcp.watch.sidecar import child_environment

    for name in ("ANTHROPIC_API_KEY", "MY_TOKEN", "DB_PASSWORD", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "value-of-it")
    assert "value-of-it" not in json.dumps(child_environment())
    assert child_environment()["PATH"] == os.environ["PATH"]
