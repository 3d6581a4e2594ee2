"""What tracing costs a call, and whether everything arrives.

    python benchmarks/tracing.py [--calls N] [--burst N]

Prints, each beside the load it was taken under: the time that tracing adds to a call of one span and of eleven, with
the destination being the home's own database, a server that works, one that is down, and one that accepts connections
and never answers; the time to close; the same spans by OpenTelemetry's SDK without anybody taking them, and by MLflow's
own client; what tracing adds to a chat; a burst of traced calls through a real MCP server in memory, how many traces a
second become files and how many MLflow's database takes, their bytes, and how many MLflow then has, whole; what the
process pays in imports and memory. Spans carry about 350 characters of input and as many of output.

Targets: one span under 0.2 ms (median), eleven under 0.5 ms, under 1 % of a chat whose model takes a second.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from unittest.mock import patch

import anyio
from _machine import machine_line, summary
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.caller import Caller
from atlas_mcp.settings import load_settings
from atlas_mcp.watch import _provider
from atlas_mcp.watch.calls import CallTracing
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.page import serve_page
from atlas_mcp.watch.spans import outputs, span
from atlas_mcp.watch.spool import spool_bytes
from atlas_mcp.watch.tracing import open_tracing

PAYLOAD = {"goal": "some words of a task " * 16}

_IMPORTS = """
import json, sys, time
from pathlib import Path
def resident():
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ["VmRSS: 0"]
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
began = time.perf_counter()
import mcp.server.mcpserver
import atlas_mcp.model.status
bare, bare_mb = time.perf_counter(), resident()
from atlas_mcp.watch.calls import CallTracing
from atlas_mcp.watch.tracing import open_tracing
with open_tracing(Path(sys.argv[1])):
    opened, opened_mb = time.perf_counter(), resident()
times = {"sdk_ms": (bare - began) * 1e3, "tracing_ms": (opened - bare) * 1e3}
sizes = {"bare_mb": bare_mb, "tracing_mb": opened_mb - bare_mb}
print(json.dumps({**times, **sizes, "mlflow": "mlflow" in sys.modules}))
"""

_MLFLOW = """
import json, sys, time
import mlflow
PAYLOAD, calls = json.loads(sys.argv[2]), int(sys.argv[3])
mlflow.set_tracking_uri("sqlite:///" + sys.argv[1])
mlflow.set_experiment("peer")
def one():
    with mlflow.start_span("call", span_type="TOOL") as opened:
        opened.set_inputs(PAYLOAD)
        opened.set_outputs(PAYLOAD)
def eleven():
    with mlflow.start_span("call", span_type="TOOL") as root:
        root.set_inputs(PAYLOAD)
        for _ in range(10):
            one()
        root.set_outputs(PAYLOAD)
found = {}
for name, work in (("1 span  ", one), ("11 spans", eleven)):
    for _ in range(20):
        work()
    taken = []
    for _ in range(calls):
        began = time.perf_counter()
        work()
        taken.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.0005)
    found[name] = taken
print(json.dumps(found))
"""


def one_span() -> None:
    """A call of one span."""
    with span("call", "TOOL", PAYLOAD) as opened:
        outputs(opened, PAYLOAD)


def eleven_spans() -> None:
    """A call with ten steps in it."""
    with span("call", "TOOL", PAYLOAD) as root:
        for _ in range(10):
            with span("step", "AGENT", PAYLOAD) as opened:
                outputs(opened, PAYLOAD)
        outputs(root, PAYLOAD)


def timed(work: Callable[[], None], calls: int) -> list[float]:
    """Milliseconds of each call, after some that are not counted."""
    for _ in range(min(200, calls)):
        work()
    samples: list[float] = []
    for _ in range(calls):
        began = time.perf_counter()
        work()
        samples.append((time.perf_counter() - began) * 1e3)
        time.sleep(0.0005)  # a call now and then, as a server gets them; the burst is measured apart
    return samples


def measure(title: str, home: Path, destination: Destination, calls: int) -> None:
    """The cost of a call with this destination."""
    with open_tracing(home, destination=destination) as tracing:
        for name, work in (("1 span  ", one_span), ("11 spans", eleven_spans)):
            print(f"  {title}, {name}: {summary(timed(work, calls))}")
        counts = tracing.counts
        began = time.perf_counter()
    print(f"  {title}, closing: {(time.perf_counter() - began) * 1e3:.1f} ms; lost {counts.lost} spans")


def measure_off(calls: int) -> None:
    """The cost with no tracing open."""
    for name, work in (("1 span  ", one_span), ("11 spans", eleven_spans)):
        print(f"  tracing off, {name}: {summary(timed(work, calls))}")


def measure_peers(folder: Path, calls: int) -> None:
    """The same by OpenTelemetry's SDK, whose spans nobody takes, and by MLflow's client, which writes them later."""
    from opentelemetry.sdk.trace import TracerProvider

    tracer, text = TracerProvider(shutdown_on_exit=False).get_tracer("peer"), json.dumps(PAYLOAD)

    def one() -> None:
        given = {"mlflow.spanType": "TOOL", "mlflow.spanInputs": text}
        with tracer.start_as_current_span("call", attributes=given) as opened:
            opened.set_attribute("mlflow.spanOutputs", text)

    def eleven() -> None:
        with tracer.start_as_current_span("call", attributes={"mlflow.spanInputs": text}) as root:
            for _ in range(10):
                one()
            root.set_attribute("mlflow.spanOutputs", text)

    for name, work in (("1 span  ", one), ("11 spans", eleven)):
        print(f"  OpenTelemetry's SDK, {name}: {summary(timed(work, calls))}")
    folder.mkdir()
    command = [sys.executable, "-c", _MLFLOW, str(folder / "peer.db"), json.dumps(PAYLOAD), str(min(calls, 200))]
    quiet = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_MODEL_CATALOG_URI": ""}
    done = subprocess.run(command, env=quiet, cwd=folder, capture_output=True, text=True, check=True)
    for name, taken in json.loads(done.stdout.splitlines()[-1]).items():
        print(f"  MLflow's own client, {name}: {summary(taken)}")


async def measure_chats(home: Path, rounds: int) -> None:
    """What tracing adds to a chat with the offline model: chats with and without it, by turns."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("ATLAS_", "LETTA_", "MLFLOW_"))}
    with patch.dict(os.environ, {**kept, "ATLAS_HOME": str(home)}, clear=True):
        settings = load_settings()
    me, taken = Caller(id="local:me"), dict[bool, list[float]]({True: [], False: []})
    async with open_atlas(settings) as atlas:
        for n in range(2 * rounds + 10):
            traced = n % 2 == 0
            with nullcontext() if traced else without_tracing():
                began = time.perf_counter()
                with span("chat_with_agent", "TOOL", PAYLOAD):
                    await atlas.chat(me, "librarian", "What is tea?", conversation="new")
                if n >= 10:
                    taken[traced].append((time.perf_counter() - began) * 1e3)
    added = statistics.median(taken[True]) - statistics.median(taken[False])
    print(f"  without: {summary(taken[False])}")
    print(f"  with:    {summary(taken[True])}")
    print(f"  added {added:.2f} ms (medians): {added / 10:.2f} % of a chat whose model takes a second")


@contextmanager
def without_tracing() -> Iterator[None]:
    """As if nobody took spans."""
    takers = [*_provider._takers]
    _provider._takers.clear()
    try:
        yield
    finally:
        _provider._takers.extend(takers)


def down() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def hanging_server() -> Iterator[str]:
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


async def burst(home: Path, calls: int) -> None:
    """Many calls at once, traced and not, through the SDK's server and client in memory."""
    server = MCPServer("burst")

    @server.tool()
    async def work(n: int) -> str:
        """Ten steps."""
        for _ in range(10):
            with span("step", "AGENT", PAYLOAD) as opened:
                outputs(opened, PAYLOAD)
        return f"done {n}"

    async def some(client: Client, count: int) -> None:
        for n in range(count):
            await client.call_tool("work", {"n": n})

    async def all_of_them() -> str:
        async with Client(server) as client:
            began, used = time.perf_counter(), time.process_time()
            async with anyio.create_task_group() as group:
                for _ in range(8):
                    group.start_soon(some, client, calls // 8)
            seconds, processor = time.perf_counter() - began, time.process_time() - used
            return f"{seconds:.2f} s ({processor:.2f} s of processor)"

    middleware = server._lowlevel_server.middleware
    middleware.pop(0)
    untraced = await all_of_them()
    middleware.insert(0, CallTracing())
    with open_tracing(home) as tracing:
        began = time.perf_counter()
        traced = await all_of_them()
        queued = tracing.counts.queued
        tracing.flush(30)
        seconds, counts = time.perf_counter() - began, tracing.counts
    print(f"  {calls} calls of 11 spans: untraced {untraced}, traced {traced}")
    print(f"  at the end {queued} spans in memory; then {counts.written} on disk, {counts.lost} lost")
    size = spool_bytes(home / "spool")
    print(f"  {calls / seconds:.0f} traces a second to disk; {size / calls / 1e3:.1f} kB each in the spool")


def carry(home: Path, calls: int) -> None:
    """The burst on its way into MLflow's database, and what arrived."""
    ingest = [sys.executable, "-m", "atlas_mcp.watch.ingest"]
    empty = home.parent / "empty"
    began = time.perf_counter()
    subprocess.run([*ingest, str(empty), "--once"], check=True, stderr=subprocess.DEVNULL)  # makes a database
    made = time.perf_counter()
    subprocess.run([*ingest, str(home), "--once"], check=True, stderr=subprocess.DEVNULL)
    seconds, alone = time.perf_counter() - made, made - began
    query = "select count(*) from spans group by trace_id"
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        whole = [count for (count,) in connection.execute(query)].count(11)
    size = (home / "mlflow.db").stat().st_size - (empty / "mlflow.db").stat().st_size
    print(f"  carried to MLflow in {seconds:.1f} s, of which loading it and making its database {alone:.1f} s:")
    print(
        f"  {calls / max(0.001, seconds - alone):.0f} traces a second; {size / calls / 1e3:.1f} kB each in its database"
    )
    print(f"  {whole} of {calls} traces arrived complete: {'yes' if whole == calls else 'NO'}")


def imports(home: Path) -> None:
    """What a serving process pays for tracing at its start."""
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", _IMPORTS, str(home)])) for _ in range(5)]
    sdk, ours = (statistics.median(run[key] for run in runs) for key in ("sdk_ms", "tracing_ms"))
    print(f"  mcp.server {sdk:.0f} ms, tracing imported and open +{ours:.0f} ms (medians of 5)")
    bare, added = (statistics.median(run[key] for run in runs) for key in ("bare_mb", "tracing_mb"))
    print(f"  resident {bare:.0f} MB, with tracing +{added:.1f} MB; MLflow loaded: {runs[0]['mlflow']}")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--chats", type=int, default=60)
    parser.add_argument("--burst", type=int, default=2_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(f"{machine_line()}\nimports and memory")
        imports(folder / "imports")
        print("added to a call")
        measure_off(given.calls)
        measure("home database ", folder / "local", Destination(), given.calls)
        with hanging_server() as address:
            measure("server hangs  ", folder / "hanging", Destination(tracking_uri=address), given.calls)
        measure("server is down", folder / "down", Destination(tracking_uri=down()), given.calls)
        measure_peers(folder / "peers", given.calls)
        print(f"added to a chat: {machine_line()}")
        anyio.run(measure_chats, folder / "chats", given.chats)
        print(f"a burst: {machine_line()}")
        calls = given.burst // 8 * 8  # by eight callers at once
        anyio.run(burst, folder / "burst", calls)
        carry(folder / "burst", calls)
        with serve_page(folder / "page", port=0) as page:
            print(f"with a working MLflow server beside it: {machine_line()}")
            measure("server works  ", folder / "served", Destination(tracking_uri=page.address), given.calls)


if __name__ == "__main__":
    main()
