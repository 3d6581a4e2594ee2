"""How soon a run of a killed worker goes on in another: from kill -9 to the first new event, and to the next turn.

Two workers on one home, with the offline model; or with `--postgresql ADDRESS --letta ADDRESS --letta-key KEY` each
with a home of its own. Repeat with `python benchmarks/take_over.py [kills]`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
from _machine import machine_line, summary
from sqlalchemy import select

from atlas_mcp.model.caller import Caller
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.runs import open_runs
from atlas_mcp.store import tables
from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.record import Record

ME = Caller(id="local:benchmark")
TEXT = "The keeper lit the lamp at dusk and trimmed the wick every four hours.\n\nThe boat came on Fridays."
TASK = TeamTask(goal="How was the light kept?", materials=(Material(name="log.txt", text=TEXT),))
Workers = dict[str, tuple[Path, "subprocess.Popen[str]"]]


def started(home: Path, environment: dict[str, str]) -> tuple[str, subprocess.Popen[str]]:
    """A worker that executes runs, and the name by which the record knows it."""
    given = {**os.environ, "ATLAS_HOME": str(home), "ATLAS_OFFLINE_DELAY": "0.1", **environment}
    command = [sys.executable, "-m", "atlas_mcp", "worker"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, env=given)
    assert process.stderr
    for line in process.stderr:
        if "executes runs as " in line:
            return line.split("executes runs as ")[1].split(",")[0], process
    raise RuntimeError("the worker ended")


async def one(runs: Runs, record: Record, workers: Workers, spent: dict[str, list[float]]) -> Path:
    """Kill the worker of a run in its middle; the home it had."""
    run_id = await runs.submit(ME, "team_task", TASK.goal, TASK.model_dump(mode="json"))
    seen = 0
    async for event in runs.follow(run_id):
        seen = event.seq
        if event.type == "turn_finished":
            break
    async with record.read() as db:
        executor = (await db.execute(select(tables.run.c.executor).where(tables.run.c.id == run_id))).scalar_one()
    home, process = workers.pop(executor)
    process.kill()
    since = time.perf_counter()
    awaited = ["run_resumed", "turn_started"]
    async for event in runs.follow(run_id, seen):
        if awaited and event.type == awaited[0] and (event.type == "run_resumed" or len(awaited) == 1):
            spent[awaited.pop(0)].append((time.perf_counter() - since) * 1000)
    process.wait()
    return home


@asynccontextmanager
async def looking_on(home: Path, database: Postgres | None) -> AsyncGenerator[tuple[Runs, Record]]:
    """The record and its runs, for one who executes none."""
    opened = open_home(home)
    async with open_record(opened.path, database) as record:
        if database is None:
            async with open_runs(opened, record, Locks(opened.locks), {}) as runs:
                yield runs, record
        else:
            async with (
                AdvisoryLocks(database).opened() as means,
                open_runs(opened, record, Locks(means), {}) as runs,
            ):
                yield runs, record


async def main(given: Any) -> None:
    """Measure, and print the figures."""
    print(machine_line())
    database = Postgres(given.postgresql) if given.postgresql else None
    told = {"ATLAS_DATABASE_URL": given.postgresql, "LETTA_BASE_URL": given.letta, "LETTA_API_KEY": given.letta_key}
    environment = {name: value for name, value in told.items() if value}
    spent: dict[str, list[float]] = {"run_resumed": [], "turn_started": []}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        homes = [Path(folder) / (f"home-{n}" if database else "home") for n in range(2)]
        workers: Workers = {}
        stack.callback(lambda: [process.kill() for _, process in workers.values()])
        async with looking_on(Path(folder) / ("looking-on" if database else "home"), database) as (runs, record):
            for home in homes:
                name, process = await anyio.to_thread.run_sync(started, home, environment)
                workers[name] = (home, process)
            for _ in range(given.kills):
                home = await one(runs, record, workers, spent)
                name, process = await anyio.to_thread.run_sync(started, home, environment)
                workers[name] = (home, process)
    print("kill -9 to the first event of the next attempt", summary(spent["run_resumed"]))
    print("kill -9 to its first turn                     ", summary(spent["turn_started"]))


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("kills", type=int, nargs="?", default=10)
    for option in ("--postgresql", "--letta", "--letta-key"):
        options.add_argument(option)
    anyio.run(main, options.parse_args())
