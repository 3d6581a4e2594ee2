"""What a quiet caller feels of a greedy one: the same calls over HTTP alone, and beside a caller with 64 calls in
flight and hundreds of queued runs; as ratios, measured in one run on one server, with keys of their own.

The greedy one works in a process of its own, and is held to no number of requests a minute: what is measured is how
fairly the waiting is shared, not that it is refused. The offline model waits `--delay` seconds in each turn, as models
do.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._machine import machine_line, summary

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

ATLAS = [sys.executable, "-m", "atlas_mcp"]
AGENTS = ("librarian", "web_researcher", "document_researcher", "strategist", "structure_editor", "content_writer")
PROBES: dict[str, tuple[str, dict[str, Any]]] = {
    "list_agents": ("list_agents", {}),
    "get_agent_memory": ("get_agent_memory", {"agent": "librarian"}),
    "chat_with_agent": ("chat_with_agent", {"agent": "librarian", "message": "Where is tea grown?"}),
    "a run's first event": ("run_team_task", {"goal": "Say where tea grows.", "wait_seconds": 0}),
}


@contextmanager
def serving(home: str, delay: float) -> Iterator[tuple[str, str, str]]:
    """A server on that home: its address, and the keys of the greedy and of the quiet caller."""
    environment = os.environ | {
        "ATLAS_HOME": home,
        "ATLAS_OFFLINE_DELAY": str(delay),
        "ATLAS_MAX_REQUESTS_PER_MINUTE": "0",
    }
    keys = [
        subprocess.run([*ATLAS, "keys", "create", name], env=environment, check=True, capture_output=True, text=True)
        for name in ("greedy", "quiet")
    ]
    with subprocess.Popen(
        [*ATLAS, "serve", "--http", "--port", "0"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        seen = ""
        while "Ctrl-C" not in seen:
            line = process.stderr.readline()
            assert line, f"the server ended: {seen}"
            seen += line
        address = re.search(r"http://127\.0\.0\.1:\d+", seen)
        assert address is not None
        try:
            yield address[0], keys[0].stdout.strip(), keys[1].stdout.strip()
        finally:
            process.kill()


@asynccontextmanager
async def client(address: str, key: str) -> AsyncIterator[Client]:
    """A client with that key."""
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {"Authorization": f"Bearer {key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=300, limits=limits) as http,
        Client(streamable_http_client(f"{address}/mcp", http_client=http)) as connected,
    ):
        yield connected


async def ask(one: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The result of a call."""
    result = await one.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content or {}


async def begun(one: Client, run: dict[str, Any]) -> None:
    """Return when the run has begun."""
    while run["status"] == "queued":
        since = run["events"][-1]["seq"] if run["events"] else 0
        run = await ask(one, "get_run", {"run_id": run["run_id"], "since": since, "wait_seconds": 30})


async def probe(address: str, key: str, count: int) -> dict[str, list[float]]:
    """The milliseconds of each of the quiet caller's calls, made one after the other."""
    took: dict[str, list[float]] = {name: [] for name in PROBES}
    async with client(address, key) as one:
        for _ in range(count + 1):
            for name, (tool, arguments) in PROBES.items():
                start = time.perf_counter()
                result = await ask(one, tool, arguments)
                if tool == "run_team_task":
                    await begun(one, result)
                took[name].append((time.perf_counter() - start) * 1000)
                if tool == "run_team_task":
                    await ask(one, "cancel_run", {"run_id": result["run_id"]})
    return {name: samples[1:] for name, samples in took.items()}


async def be_greedy(address: str, key: str, flight: int, queued: int) -> None:
    """Keep so many calls in flight until the process is killed; says so when it is under way, and then what it got."""
    done: Counter[str] = Counter()
    async with client(address, key) as one, anyio.create_task_group() as tasks:
        for _ in range(queued):
            await ask(one, "run_team_task", {"goal": "Say where tea grows.", "wait_seconds": 0})

        async def go_on(number: int) -> None:
            agent = AGENTS[number % len(AGENTS)]
            while True:
                talk = {"agent": agent, "message": "Where is tea grown?", "conversation": "new"}
                for tool, arguments in (
                    ("chat_with_agent", talk),
                    ("list_agents", {}),
                    ("get_agent_memory", {"agent": agent}),
                ):
                    result = await one.call_tool(tool, arguments)
                    done["errors" if result.is_error else tool] += 1

        for number in range(flight):
            tasks.start_soon(go_on, number)
        while True:
            await anyio.sleep(1)
            print(json.dumps(done), flush=True)


@contextmanager
def greedy(address: str, key: str, flight: int, queued: int) -> Iterator[list[dict[str, int]]]:
    """The greedy caller at work; what it had been given at the begin and at the end."""
    command = [sys.executable, __file__, "--greedy", address, "--flight", str(flight), "--queued", str(queued)]
    environment = os.environ | {"GREEDY_KEY": key}
    told: list[dict[str, int]] = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        told.append(json.loads(process.stdout.readline()))
        try:
            yield told
        finally:
            process.kill()
            lines = process.stdout.read().splitlines()
            told.append(json.loads(lines[-1]) if lines else told[0])


def main() -> int:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=15, help="calls of each kind")
    parser.add_argument("--flight", type=int, default=64, help="the greedy caller's calls in flight")
    parser.add_argument("--queued", type=int, default=300, help="the runs it queues first")
    parser.add_argument("--delay", type=float, default=0.5, help="seconds that the model takes")
    parser.add_argument("--greedy", metavar="ADDRESS", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.greedy:
        anyio.run(be_greedy, given.greedy, os.environ["GREEDY_KEY"], given.flight, given.queued)
    print(machine_line())
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home,
        serving(home, given.delay) as (address, theirs, mine),
    ):
        alone = anyio.run(probe, address, mine, given.calls)
        with greedy(address, theirs, given.flight, given.queued) as told:
            start = time.perf_counter()
            beside = anyio.run(probe, address, mine, given.calls)
            seconds = time.perf_counter() - start
    for name in PROBES:
        ratio = statistics.median(beside[name]) / statistics.median(alone[name])
        print(f"{name}\n  alone     {summary(alone[name])}\n  beside    {summary(beside[name])}")
        print(f"  ratio     {ratio:.2f}", flush=True)
    got = Counter(told[1])
    got.subtract(told[0])
    print(f"the greedy caller got, in {seconds:.0f} s: {', '.join(f'{n:,} {what}' for what, n in got.items())}")
    print(f"load afterwards: {machine_line().split('load ')[1].split(';')[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
