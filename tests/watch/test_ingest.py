"""From the spool to MLflow: real MLflow, in its own process, on an empty home."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from atlas_mcp.watch.calls import CallTracing, hashed_caller
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.page import known_trace_url, serve_page
from atlas_mcp.watch.sidecar import start_ingest
from atlas_mcp.watch.spans import current_trace_id, outputs, session, span, tag, usage
from atlas_mcp.watch.spool import anything_waits, waiting
from atlas_mcp.watch.state import load_state, tracing_health
from atlas_mcp.watch.tracing import open_tracing

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def in_database(home: Path) -> list[tuple[str, list[str]]]:
    """The name and the spans' names of each trace, read from MLflow's tables: much quicker than by its client."""
    query = """
        select trace_name, (select json_group_array(name) from spans where trace_id = request_id)
        from trace_info where status in ('OK', 'ERROR')
    """
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        return [(name, json.loads(spans)) for name, spans in connection.execute(query)]


Stored = Callable[[str], list[dict[str, Any]]]
Ingest = Callable[..., subprocess.CompletedProcess[str]]


def traced_work(calls: int = 1, prefix: str = "call") -> None:
    for n in range(calls):
        with span(f"{prefix}{n}", "TOOL", {"n": n}), span("model", "CHAT_MODEL") as opened:
            usage(opened, model="acme/m", input_tokens=5, output_tokens=2, cost_usd=0.001)


def commands_below(process: int) -> list[str]:
    """The command lines of all that this process started: what other suites run meanwhile is not looked at."""
    listed = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True, check=True).stdout
    rows = [line.split(maxsplit=2) for line in listed.splitlines()]
    below = {str(process)}
    while more := {pid for pid, parent, *_ in rows if parent in below} - below:
        below |= more
    return [args for pid, _, args in rows if pid in below - {str(process)}]


def wait_until(holds: Callable[[], bool], seconds: float = 200) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_mlflow_shows_name_session_user_tokens_cost_tags_status_and_texts(
    home: Path, ingest: Ingest, stored_traces: Stored, database: str
) -> None:
    with open_tracing(home):
        with span("chat_with_agent", "TOOL", {"message": "grüß Gott"}, user__id="user-1") as root:
            session("conv-1")
            tag(root, "atlas.agent", "librarian")
            with span("model", "CHAT_MODEL") as opened:
                usage(opened, model="acme/m", input_tokens=5, output_tokens=2, cost_usd=0.5)
            outputs(root, {"reply": "hello"})
            expected = current_trace_id()
        with pytest.raises(ValueError, match="bad"), span("failing"):
            raise ValueError("bad")
    done = ingest(home)
    assert (done.returncode, done.stdout) == (0, "")
    traces = {t["name"]: t for t in stored_traces(database)}
    chat = traces["chat_with_agent"]
    assert chat["id"] == expected
    assert chat["state"] == "OK"
    assert chat["metadata"]["mlflow.trace.session"] == "conv-1"
    assert chat["metadata"]["mlflow.trace.user"] == "user-1"
    assert json.loads(chat["metadata"]["mlflow.trace.tokenUsage"])["total_tokens"] == 7
    assert json.loads(chat["metadata"]["mlflow.trace.cost"])["total_cost"] == pytest.approx(0.5)
    assert chat["tags"]["atlas.agent"] == "librarian"
    root_span = next(s for s in chat["spans"] if s["name"] == "chat_with_agent")
    assert (root_span["type"], root_span["status"]) == ("TOOL", "OK")
    assert root_span["inputs"] == {"message": "grüß Gott"}
    assert root_span["outputs"] == {"reply": "hello"}
    assert traces["failing"]["state"] == "ERROR"
    assert traces["failing"]["spans"][0]["said"] == "ValueError: bad"
    assert not anything_waits(home / "spool")
    assert tracing_health(home).ingest.spans == 3


async def test_a_burst_of_2000_calls_arrives_complete(
    home: Path, ingest: Ingest, stored_traces: Stored, database: str
) -> None:
    server = MCPServer("burst")

    @server.tool()
    async def work(n: int) -> str:
        """Work."""
        for step in range(3):
            with span(f"step{step}", "AGENT", {"n": n}):
                await anyio.lowlevel.checkpoint()
        return f"done {n}"

    async def call_many(client: Client, numbers: range) -> None:
        for n in numbers:
            await client.call_tool("work", {"n": n})

    server._lowlevel_server.middleware[0] = CallTracing(lambda ctx: "local:me")
    with open_tracing(home) as tracing:
        async with Client(server) as client, anyio.create_task_group() as group:
            for first in range(8):
                group.start_soon(call_many, client, range(first, 2000, 8))
        assert tracing.flush(60)
        assert tracing.counts.lost == 0
    assert (await anyio.to_thread.run_sync(ingest, home)).returncode == 0
    traces = await anyio.to_thread.run_sync(stored_traces, database)
    assert len(traces) == 2000
    assert {t["name"] for t in traces} == {"work"}
    assert {t["state"] for t in traces} == {"OK"}
    assert {t["metadata"]["mlflow.trace.user"] for t in traces} == {hashed_caller("local:me")}
    assert {tuple(sorted(s["name"] for s in t["spans"])) for t in traces} == {("step0", "step1", "step2", "work")}
    assert {s["inputs"]["n"] for t in traces for s in t["spans"] if s["name"] == "work"} == set(range(2000))


def test_two_carriers_on_an_empty_home_do_the_work_once(home: Path) -> None:
    with open_tracing(home):
        traced_work(30)
    carriers = [start_ingest(home, Destination(), "--once") for _ in range(2)]
    assert [carrier.wait(200) for carrier in carriers] == [0, 0]
    assert len(in_database(home)) == 30
    assert load_state(home / "spool").spans == 60


def test_spool_files_of_dead_processes_are_carried_and_damaged_ones_put_aside(ready_home: Path, ingest: Ingest) -> None:
    home = ready_home
    code = (
        "import os, sys, time; from pathlib import Path; from atlas_mcp.watch.spans import span;"
        "from atlas_mcp.watch.tracing import open_tracing; home = Path(sys.argv[1])\n"
        "with open_tracing(home) as tracing:\n"
        "    with span('of the dead'): pass\n"
        "    assert tracing.flush(60)\n"
        "    os._exit(9)\n"
    )
    assert subprocess.run([sys.executable, "-c", code, str(home)], check=False).returncode == 9
    with open_tracing(home):
        traced_work(1, "cut")
    own, *more = (file.path for file in waiting(home / "spool") if f"{os.getpid()}-" in file.path.parent.name)
    for one in more:  # where the two spans were not written together
        one.unlink()
    own.write_bytes(own.read_bytes()[:-40])
    (own.parent / "00000000000000000001-1-abcdef.spans").write_bytes(b"\xff\x00 no json")
    assert ingest(home).returncode == 0
    assert in_database(home) == [("of the dead", ["of the dead"])]
    assert load_state(home / "spool").broken == 2
    assert len(list((home / "spool" / "aside").iterdir())) == 2
    assert [p.name for p in (home / "spool").iterdir() if p.is_dir()] == ["aside"]


def test_a_span_that_mlflow_refuses_costs_its_own_trace_only(ready_home: Path, ingest: Ingest) -> None:
    home = ready_home
    with open_tracing(home):
        traced_work(3, "good")
        with span("bad"):
            pass
    file = waiting(home / "spool")[-1].path  # they may be two
    lines = file.read_text().splitlines()
    bad = json.loads(lines[-1])
    bad["attributes"]["session.id"] = "too long " * 100  # `span` would have cut it
    file.write_text("\n".join([*lines[:-1], json.dumps(bad), ""]))
    assert ingest(home).returncode == 0
    assert sorted(name for name, _ in in_database(home)) == ["good0", "good1", "good2"]
    assert load_state(home / "spool").refused == 1


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="POSIX signals")
@pytest.mark.parametrize("moment", ["making the database", "storing"])
def test_a_carrier_killed_at_work_loses_and_doubles_nothing(
    request: pytest.FixtureRequest, ingest: Ingest, moment: str
) -> None:
    home: Path = request.getfixturevalue("ready_home" if moment == "storing" else "home")
    with open_tracing(home) as tracing:
        for batch in range(12):
            traced_work(40, f"b{batch}-")
            tracing.flush(60)
    carrier = start_ingest(home, Destination())
    if moment == "storing":
        wait_until(lambda: load_state(home / "spool").experiment_id is not None)
    else:
        wait_until(lambda: (home / "mlflow.db.draft").exists())
    carrier.kill()
    carrier.wait()
    assert ingest(home).returncode == 0
    assert not list(home.glob("*.draft*"))
    traces = in_database(home)
    assert len(traces) == 480
    assert {len(spans) for _, spans in traces} == {2}


def test_a_serving_process_starts_its_carrier_by_itself_some_seconds_after_the_last_call(ready_home: Path) -> None:
    home = ready_home
    with open_tracing(home):
        traced_work(2)
        assert not (home / "locks").exists(), "the carrier came too early"
        wait_until(lambda: load_state(home / "spool").spans == 4)
    assert len(in_database(home)) == 2


def test_the_page_shows_the_traces_and_is_a_server_that_other_homes_can_send_to(
    ready_home: Path, tmp_path: Path
) -> None:
    home = ready_home
    with open_tracing(home), span("local work"):
        local = current_trace_id()
    with serve_page(home, port=0) as page, httpx.Client(base_url=page.address, trust_env=False) as client:
        assert "<title>MLflow</title>" in client.get("/").text
        running = "\n".join(commands_below(os.getpid()))
        assert "mlflow server" in running
        assert "mlflow.db" not in running, (
            "a database's address may hold its password, and everybody may list processes"
        )
        assert page.trace_url(str(local)).endswith(f"traces?selectedEvaluationId={local}")
        assert _names(client, page.experiment_id) == {local: "local work"}

        other, destination = tmp_path / "other", Destination(tracking_uri=page.address, experiment="Elsewhere")
        with open_tracing(other, destination=destination):
            traced_work(5)
            with span("call5"), span("run") as run:
                tag(run, "atlas.status", "failed")
        # Leaving starts the carrier for a server; it needs no MLflow of its own.
        wait_until(lambda: load_state(other / "spool").spans == 12)
        experiment = load_state(other / "spool").experiment_id
        found = _names(client, str(experiment))
        assert sorted(found.values()) == [f"call{n}" for n in range(6)]
        assert list(_names(client, str(experiment), "tags.`atlas.status` = 'failed'").values()) == ["call5"]
        assert not (other / "mlflow.db").exists()
        some = next(iter(found))
        assert known_trace_url(other, destination, some) == page.trace_url(some).replace(
            f"/{page.experiment_id}/", f"/{experiment}/"
        )

        secret = Destination(tracking_uri=page.address.replace("://", "://bob:hunter22@"), experiment="Elsewhere")
        with serve_page(other, destination=secret) as elsewhere:
            assert elsewhere.traces_url == f"{page.address}/#/experiments/{experiment}/traces"
        assert known_trace_url(other, secret, some) == known_trace_url(other, destination, some)
    assert {p.name for p in home.iterdir()} <= {"mlflow.db", "mlflow.db-wal", "mlflow.db-shm", "spool", "logs", "locks"}


@pytest.mark.parametrize("scheme", ["http", "postgresql+nodriver"])
def test_what_is_kept_of_a_failure_holds_no_secret_of_the_address(home: Path, scheme: str) -> None:
    with _telling_server("no entry for bob with p/w hunter22, given as p%2Fw%20hunter22") as address:
        where = Destination(tracking_uri=f"{scheme}://bob:p%2Fw%20hunter22@{address}/x", experiment="E")
        with open_tracing(home):
            traced_work(1)
        assert start_ingest(home, where, "--once").wait(200) == 1
    kept = (load_state(home / "spool").error or "") + (home / "logs" / "ingest.log").read_text()
    assert "traces wait" in kept
    assert "hunter22" not in kept
    assert "hunter22" not in repr(where)


@contextmanager
def _telling_server(text: str) -> Generator[str]:
    """A server that answers everything with an error that tells too much."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(500)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


def _names(client: httpx.Client, experiment_id: str, only: str = "") -> dict[str, str]:
    location = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": experiment_id}}
    answer = client.post(
        "/api/3.0/mlflow/traces/search", json={"locations": [location], "max_results": 100, "filter": only}
    )
    return {t["trace_id"]: t["tags"]["mlflow.traceName"] for t in answer.raise_for_status().json()["traces"]}


def test_writers_and_the_carrier_work_at_the_same_time(ready_home: Path) -> None:
    home = ready_home
    finished = threading.Event()
    with open_tracing(home) as tracing:
        carrier = start_ingest(home, Destination())

        def write() -> None:
            for batch in range(10):
                traced_work(10, f"b{batch}-")
                tracing.flush(60)
            finished.set()

        threading.Thread(target=write).start()
        assert finished.wait(120)
        wait_until(lambda: load_state(home / "spool").spans == 200)
    carrier.terminate()
    carrier.wait()
    assert len(in_database(home)) == 100
