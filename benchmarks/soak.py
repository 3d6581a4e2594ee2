"""An hour of mixed load in five minutes: memory and file handles of a server that stays, and whether a run is lost.

Clients over HTTP come, chat, write and search memory, read resources, set teams to work, and go, over and over; clients
over stdio start servers of their own on the same home and leave them. Each sets a team to work only when its last run
has ended. At the end every run that was handed out must be found, and must end. Exit code 1 when one is lost.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))
from benchmarks._machine import machine_line
from benchmarks._wire import ATLAS, Http, handles, over_http, piped, resident_mib

if TYPE_CHECKING:
    from collections.abc import Sequence

TEXT = "Tea is grown in Assam. It came to Europe in 1610. It was dear at first."
TASK = {"goal": "Where is tea grown?", "materials": [{"name": "tea.txt", "text": TEXT}], "wait_seconds": 0}
ENDED = {"completed", "failed", "cancelled"}
SAMPLES = 60
END_SECONDS = 180


class Asking(Protocol):
    """A client that is connected."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]: ...


@dataclass
class Load:
    """What was done, and what came of it."""

    calls: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    runs: dict[str, set[str]] = field(default_factory=lambda: {"HTTP": set(), "stdio": set()})

    async def use(self, client: Asking, tool: str, **arguments: Any) -> dict[str, Any] | None:
        """What the tool gives; None where it refuses, which is noted."""
        self.calls[tool] += 1
        result = await client.ask("tools/call", name=tool, arguments=arguments)
        if result.get("isError"):
            self.refused[result["content"][0]["text"][:90]] += 1
            return None
        return result["structuredContent"]

    async def visit(self, client: Asking, door: str, name: str, number: int, run_id: str | None) -> str | None:
        """What one client does between coming and going; the run it waits for from then on."""
        await self.use(client, "list_agents")
        await self.use(client, "chat_with_agent", agent="librarian", message=f"Please remember: I am {name} {number}.")
        await self.use(client, "update_agent_memory", agent="librarian", label="human", value=f"{name} {number}.")
        await self.use(client, "search_memory", query="tea")
        self.calls["resources/read"] += 2
        await client.ask("resources/read", uri="atlas://agents")
        await client.ask("resources/read", uri="atlas://agents/librarian/memory/human")
        if run_id:
            run = await self.use(client, "get_run", run_id=run_id, wait_seconds=2)
            if run is not None and run["status"] not in ENDED:
                return run_id
        if (run := await self.use(client, "run_team_task", **TASK)) is None:
            return None
        self.runs[door].add(run["run_id"])
        return run["run_id"]

    async def left(self, client: Asking, door: str) -> dict[str, str]:
        """Wait for the runs of a door; those that did not end, and how they stand."""
        standing: dict[str, str] = {}
        deadline = time.monotonic() + END_SECONDS
        for run_id in sorted(self.runs[door]):
            status = "not looked at"
            while status not in ENDED and time.monotonic() < deadline:
                run = await self.use(client, "get_run", run_id=run_id, since=10**6, wait_seconds=20)
                status = run["status"] if run else "not found"
            if status not in ENDED:
                standing[run_id] = status
        return standing


def slope(samples: Sequence[tuple[float, float]]) -> float:
    """What is added in an hour, by least squares."""
    return statistics.linear_regression(*zip(*samples, strict=True)).slope * 3600


def report(samples: list[tuple[float, float, float]]) -> None:
    """Print how memory and handles went, and their slopes once the start is over."""
    for at, memory, files in samples[:: max(1, len(samples) // 12)]:
        print(f"  {at:6.0f} s  {memory:7.1f} MiB  {files:4.0f} handles")
    late = samples[len(samples) // 3 :]
    if len(late) > 2:
        memory, files = slope([s[:2] for s in late]), slope([(s[0], s[2]) for s in late])
        print(f"slope over the last two thirds: {memory:+.1f} MiB and {files:+.1f} handles in an hour of this load")


async def measure(seconds: float, http: int, stdio: int) -> bool:
    """Load, watch, and look for every run; whether all were found ended."""
    with (
        tempfile.TemporaryDirectory() as home,
        over_http([*ATLAS, "--http", "--port", "0"], {"ATLAS_HOME": home}, "Ctrl-C") as (address, key, server),
    ):
        load, samples, begun = Load(), list[tuple[float, float, float]](), time.monotonic()

        async def by_http(name: str) -> None:
            run_id = None
            for number in itertools.count():
                if time.monotonic() - begun > seconds:
                    return
                client = Http(address, key)
                run_id = await load.visit(client, "HTTP", name, number, run_id)
                await client.aclose()

        async def by_stdio(name: str) -> None:
            run_id = None
            for number in itertools.count():
                if time.monotonic() - begun > seconds:
                    return
                async with piped(ATLAS, {"ATLAS_HOME": home}) as (client, _):
                    run_id = await load.visit(client, "stdio", name, number, run_id)

        async def watch() -> None:
            while (at := time.monotonic() - begun) < seconds:
                samples.append((at, resident_mib(server.pid), handles(server.pid)))
                await anyio.sleep(seconds / SAMPLES)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            for number in range(http):
                tasks.start_soon(by_http, f"Ada{number}")
            for number in range(stdio):
                tasks.start_soon(by_stdio, f"Bob{number}")
        last = Http(address, key)
        lost = await load.left(last, "HTTP")
        await last.aclose()
        async with piped(ATLAS, {"ATLAS_HOME": home}) as (client, _):
            lost |= await load.left(client, "stdio")
        print(f"{sum(load.calls.values())} calls in {seconds:.0f} s: {dict(load.calls)}")
        print(f"refused: {dict(load.refused) or 'none'}")
        report(samples)
        count = {door: len(runs) for door, runs in load.runs.items()}
        print(f"runs handed out: {count}; not found ended: {lost or 'none'}")
        return not lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300, help="how long the load lasts")
    parser.add_argument("--http", type=int, default=4, help="clients over HTTP")
    parser.add_argument("--stdio", type=int, default=1, help="clients over stdio")
    given = parser.parse_args()
    print(machine_line())
    kept = anyio.run(measure, given.seconds, given.http, given.stdio)
    print(f"load afterwards: {machine_line().split('load ')[1].split(';')[0]}")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
