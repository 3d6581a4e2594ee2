"""What tracing costs a call, and whether everything arrives.

    python benchmarks/tracing.py [--calls N] [--burst N]

Prints, each beside the load it was taken under: the time that tracing adds to a call of one span and of eleven, with
the destination being the home's own database, a server that works, and one that accepts connections and never answers;
the time to close; a burst of traced calls through a real MCP server in memory and how many of them MLflow then has,
whole; what the process pays in imports and memory. Spans carry about 350 characters of input and as many of output.
"""

from __future__ import annotations

import argparse
import json
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import anyio
from _machine import machine_line, summary
from mcp.client import Client
from mcp.server.mcpserver import MCPServer

from atlas_mcp.watch.calls import CallTracing
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.page import serve_page
from atlas_mcp.watch.spans import outputs, span
from atlas_mcp.watch.tracing import open_tracing

PAYLOAD = {"goal": "some words of a task " * 16}

_IMPORTS = """
import sys, time
began = time.perf_counter()
import mcp.server.mcpserver
bare = time.perf_counter()
from pathlib import Path
from atlas_mcp.watch.tracing import open_tracing
with open_tracing(Path(sys.argv[1])):
    opened = time.perf_counter()
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else ["VmRSS: 0"]
    resident = next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
import json
times = {"sdk_ms": (bare - began) * 1e3, "tracing_ms": (opened - bare) * 1e3}
print(json.dumps({**times, "rss_mb": resident, "mlflow": "mlflow" in sys.modules}))
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
        traced = await all_of_them()
        queued = tracing.counts.queued
        tracing.flush(30)
        counts = tracing.counts
    print(f"  {calls} calls of 11 spans: untraced {untraced}, traced {traced}")
    print(f"  at the end {queued} spans in memory; then {counts.written} on disk, {counts.lost} lost")


def carry(home: Path, calls: int) -> None:
    """The burst on its way into MLflow's database, and what arrived."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-m", "atlas_mcp.watch.ingest", str(home), "--once"], check=True)
    seconds = time.perf_counter() - began
    query = "select count(*) from spans group by trace_id"
    with closing(sqlite3.connect(home / "mlflow.db")) as connection:
        whole = [count for (count,) in connection.execute(query)].count(11)
    size = (home / "mlflow.db").stat().st_size / 1e6
    print(f"  carried to MLflow in {seconds:.1f} s, its loading included; database {size:.0f} MB")
    print(f"  {whole} of {calls} traces arrived complete: {'yes' if whole == calls else 'NO'}")


def imports(home: Path) -> None:
    """What a serving process pays for tracing at its start."""
    runs = [json.loads(subprocess.check_output([sys.executable, "-c", _IMPORTS, str(home)])) for _ in range(5)]
    sdk, ours = (statistics.median(run[key] for run in runs) for key in ("sdk_ms", "tracing_ms"))
    print(f"  mcp.server {sdk:.0f} ms, tracing imported and open +{ours:.0f} ms (medians of 5)")
    print(f"  resident {runs[0]['rss_mb']:.0f} MB with both; MLflow loaded: {runs[0]['mlflow']}")


def main() -> None:
    """Measure everything."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_000)
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
        print(f"a burst: {machine_line()}")
        anyio.run(burst, folder / "burst", given.burst)
        carry(folder / "burst", given.burst)
        with serve_page(folder / "page", port=0) as page:
            print(f"with a working MLflow server beside it: {machine_line()}")
            measure("server works  ", folder / "served", Destination(tracking_uri=page.address), given.calls)


if __name__ == "__main__":
    main()
