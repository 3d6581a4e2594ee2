"""How many team tasks a second one, two and four processes execute together, with the record on PostgreSQL.

    python benchmarks/workers.py [tasks] [workers ...] [--postgresql ADDRESS]

Each worker is a process with a home of its own; the agents answer at once (see team_task.py), so this is what the
orchestration, the engine and the database take. The tasks are stored first and begin when the workers come; the rate
is from the first task that begins to the end of the last. Without an address a PostgreSQL of the tests' own is started
on this machine, and shares its cores with the workers.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
from _machine import machine_line
from sqlalchemy import func, select
from team_task import TASK, InstantAgents

from atlas_mcp.model.caller import Caller
from atlas_mcp.model.task import TeamTask
from atlas_mcp.runs import open_runs
from atlas_mcp.runs.admission import Limits
from atlas_mcp.runs.context import RunContext
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.server.loop import loop_options
from atlas_mcp.store import tables
from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from atlas_mcp.teamwork.task import run_team_task

if TYPE_CHECKING:
    from collections.abc import Generator

    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.record import Record

AT_ONCE = 16
LIMITS = Limits(1000, 1000)


async def opened(stack: AsyncExitStack, home: Path, url: str, executors: dict[Any, Any]) -> tuple[Record, Runs]:
    """The record and its runs, as a process with that home has them."""
    database, at = Postgres(url), open_home(home)
    record = await stack.enter_async_context(open_record(at.path, database))
    means = await stack.enter_async_context(AdvisoryLocks(database).opened())
    return record, await stack.enter_async_context(open_runs(at, record, Locks(means), executors, limits=LIMITS))


async def work(home: Path, url: str) -> None:
    """Execute team tasks until the process is ended."""
    agents = InstantAgents()

    async def execute(run: RunContext) -> RunOutcome:
        return await run_team_task(run, agents, TeamTask.model_validate(run.input))

    async with AsyncExitStack() as stack:
        await opened(stack, home, url, {"team_task": execute})
        await anyio.sleep_forever()


async def rate(tasks: int, workers: int, url: str, folder: Path) -> float:
    """Tasks that so many workers end in a second."""
    command = [sys.executable, __file__, "--work", url]
    async with AsyncExitStack() as stack:
        record, runs = await opened(stack, folder / "looking-on", url, {})
        for number in range(tasks):
            caller = Caller(id=f"local:{number % AT_ONCE}")
            await runs.submit(caller, "team_task", TASK.goal, TASK.model_dump(mode="json"))
        for number in range(workers):
            given = [*command, "--home", str(folder / f"home-{number}")]
            process = await anyio.open_process(given, stdout=subprocess.DEVNULL, stderr=None)
            stack.push_async_callback(process.wait)
            stack.callback(process.terminate)
        begun = 0.0
        while True:
            async with record.read() as db:
                query = select(tables.run.c.status, func.count().label("count")).group_by(tables.run.c.status)
                by_status = {row.status: row.count for row in await db.execute(query)}
            begun = begun or (time.perf_counter() if set(by_status) - {"queued"} else 0.0)
            if set(by_status) == {"completed"}:
                return tasks / (time.perf_counter() - begun)
            if by_status.get("failed"):
                async with record.read() as db:
                    failures = (
                        await db.execute(select(tables.run.c.error).where(tables.run.c.error.is_not(None)))
                    ).scalars()
                    raise RuntimeError(f"a task failed: {failures.first()}")
            await anyio.sleep(0.02)


@contextmanager
def databases(address: str | None) -> Generator[Any]:
    """A function that gives the address of a new database on the given server, or on one of the tests' own."""
    if address is not None:
        yield lambda: address
        return
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.postgres import running_postgres

    with ExitStack() as stack:
        yield stack.enter_context(running_postgres()).new_database


def main(given: Any) -> None:
    """Print the rates."""
    print(machine_line())
    with databases(given.postgresql) as new_database:
        for workers in given.workers or (1, 2, 4):
            with tempfile.TemporaryDirectory() as folder:
                each = anyio.run(
                    rate, given.tasks, workers, new_database(), Path(folder), backend_options=loop_options()
                )
            print(f"{workers} worker{'s' if workers > 1 else ' '}: {each:6.1f} team tasks a second")


if __name__ == "__main__":
    options = argparse.ArgumentParser()
    options.add_argument("tasks", type=int, nargs="?", default=200)
    options.add_argument("workers", type=int, nargs="*")
    options.add_argument("--postgresql")
    options.add_argument("--work")
    options.add_argument("--home", type=Path)
    chosen = options.parse_args()
    if chosen.work:
        anyio.run(work, chosen.home, chosen.work, backend_options=loop_options())
    else:
        main(chosen)
