"""What a transaction of the record costs, on SQLite and on PostgreSQL: run `python benchmarks/transactions.py`.

PostgreSQL is the one of the tests, on this machine, with commits that wait for the disk.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio

sys.path.insert(0, str(Path(__file__).parents[1]))

from sqlalchemy import select

from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import placement
from benchmarks._machine import machine_line, summary
from tests.postgres import DURABLE, running_postgres

TIMES = 400
ROW = {"server": "s", "moving_to": None}


async def timed(what: str, once: Callable[[int], Awaitable[None]]) -> None:
    """Print what it costs."""
    took = list[float]()
    for n in range(TIMES):
        begun = time.perf_counter()
        await once(n)
        took.append((time.perf_counter() - begun) * 1000)
    print(f"  {what:<44} {summary(took)}")


async def of_record(record: Record) -> None:
    """Print the costs of looks, reads and writes, alone and eight at once."""
    from datetime import UTC, datetime

    one = select(placement.c.server).where(placement.c.caller == "c1")

    async def look(_: int) -> None:
        async with record.look() as connection:
            await connection.execute(one)

    async def read(_: int) -> None:
        async with record.read() as connection:
            await connection.execute(one)

    async def empty(_: int) -> None:
        async with record.write("c1"):
            pass

    async def write(n: int) -> None:
        async with record.write(f"c{n}") as connection:
            row = {**ROW, "caller": f"c{n}-{time.monotonic_ns()}", "at": datetime.now(UTC)}
            await connection.execute(placement.insert().values(row))

    for name, once in (("look at a row", look), ("read a row", read), ("empty write", empty), ("write a row", write)):
        await timed(name, once)
    for whose in ("of one caller", "of eight callers"):
        begun = time.perf_counter()
        async with anyio.create_task_group() as group:
            for worker in range(8):
                group.start_soon(_fifty, record, worker if whose == "of eight callers" else 0)
        print(f"  {f'writes a second, eight at once, {whose}':<44} {400 / (time.perf_counter() - begun):6.0f}")


async def _fifty(record: Record, caller: int) -> None:
    from datetime import UTC, datetime

    for _ in range(50):
        async with record.write(f"w{caller}") as connection:
            row = {**ROW, "caller": f"w-{time.monotonic_ns()}", "at": datetime.now(UTC)}
            await connection.execute(placement.insert().values(row))


async def of_locks(locks: Locks) -> None:
    """Print the costs of locks."""

    async def hold(_: int) -> None:
        async with locks.hold("turn-1"):
            pass

    async def held(_: int) -> None:
        locks.is_held("turn-2")

    await timed("hold a lock and free it", hold)
    await timed("look at a lock", held)


async def main() -> None:
    """Print all of it."""
    print(machine_line())
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        print("SQLite, and locks by files")
        async with open_record(home) as record:
            await of_record(record)
        await of_locks(Locks(home / "locks"))
        os.environ[DURABLE] = "1"
        with running_postgres() as server:
            database = Postgres(server.new_database())
            print("PostgreSQL, and its advisory locks")
            async with open_record(home, database) as record, AdvisoryLocks(database).opened() as means:
                await of_record(record)
                await of_locks(Locks(means))


if __name__ == "__main__":
    anyio.run(main)
