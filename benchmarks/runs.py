"""What a run costs beside its work: from the request to its executor, to its end, and for each event.

Each figure stands beside the cost of one empty writing transaction on the same record, taken in the same run: that
ratio is what to compare between machines. Repeat with `python benchmarks/runs.py [runs]`.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from _machine import machine_line, summary
from sqlalchemy import text

from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import RunOutcome, open_runs
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record

if TYPE_CHECKING:
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.record import Record

ME = Caller(id="local:benchmark")
EVENTS = 300
IDLE_SECONDS = 10
begun: dict[str, float] = {}


async def executor(run: RunContext) -> RunOutcome:
    begun[run.run_id] = time.perf_counter()
    if run.input.get("events"):
        spent: list[float] = []
        for number in range(EVENTS):
            since = time.perf_counter()
            await run.emit("worker", "note", f"number {number}", key=str(number))
            spent.append(_ms(since))
        print("one event with a key, in the journal  ", summary(spent))
    return RunOutcome(reply="done")


async def one(runs: Runs) -> tuple[float, float, float]:
    """Milliseconds from the request until it is stored, its executor begins, and its end is known."""
    since = time.perf_counter()
    run_id = await runs.submit(ME, "turn", "nothing", {})
    stored = _ms(since)
    await runs.get(ME, run_id, since=2, wait_seconds=60)
    return stored, (begun[run_id] - since) * 1000, _ms(since)


async def bare_write(record: Record) -> float:
    since = time.perf_counter()
    async with record.write() as connection:
        await connection.execute(text("update run set note = note where id = 'none'"))
    return _ms(since)


async def idle(label: str) -> None:
    cpu, wall = time.process_time(), time.perf_counter()
    await anyio.sleep(IDLE_SECONDS)
    print(label, f"{(time.process_time() - cpu) / (time.perf_counter() - wall):.2%} of a core")


async def main(count: int) -> None:
    print(machine_line())
    with tempfile.TemporaryDirectory() as folder:
        home = open_home(Path(folder) / "home")
        async with open_record(home.path) as record:
            async with open_runs(home, record, Locks(home.locks), {"turn": executor}) as runs:
                await idle("idle before the first run              ")
                first = await one(runs)
                print(f"first run, which loads the engine       {first[1]:.0f} ms to its executor")
                print(
                    "one empty writing transaction         ", summary([await bare_write(record) for _ in range(count)])
                )
                stored, started, ended = zip(*[await one(runs) for _ in range(count)], strict=True)
                print("request to stored                     ", summary(stored))
                print("request to executor                   ", summary(started))
                print("request to the end of an empty run    ", summary(ended))
                run_id = await runs.submit(ME, "turn", "events", {"events": True})
                _ = [event async for event in runs.follow(run_id)]
                await idle("idle after runs, with the engine loaded")
                since = time.perf_counter()
            print(f"closing                                 {_ms(since):.0f} ms")


def _ms(since: float) -> float:
    return (time.perf_counter() - since) * 1000


if __name__ == "__main__":
    anyio.run(main, int(sys.argv[1]) if len(sys.argv) > 1 else 150)
