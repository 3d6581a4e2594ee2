"""Run as a program: `python -m tests.memory_crashes.writer HOME FIRST_MARKER`; see `world`."""

from __future__ import annotations

import json
import sys
from itertools import count
from pathlib import Path

import anyio
from sqlalchemy import delete, select

from atlas_mcp.model.caller import Caller
from atlas_mcp.store.tables import passage
from tests.memory_crashes.marked import CALLERS, plant
from tests.memory_crashes.world import DELETED
from tests.vectors.world import World, opened

AT_ONCE = 50
PACE = 0.05
"""What is written is as much as Chroma takes: else it would never be whole while somebody writes."""
AHEAD = 100
"""So many commits are written before Chroma is ready, and no more: what is anew to be told grows with each kill, and
would soon be more than Chroma takes in while as much is written."""


def say(**what: object) -> None:
    print(json.dumps(what), flush=True)


async def name_chroma(world: World, ready: anyio.Event) -> None:
    """Say which process is Chroma's each time that there is another one, and when it is ready for the first time."""
    chroma, known = world.vectors.chroma, None
    while True:
        if chroma.pid not in (None, known):
            known = chroma.pid
            print(f"chroma {known}", flush=True)
        if chroma.stage == "ready" and not ready.is_set():
            ready.set()
            print("ready", flush=True)
        await anyio.sleep(0.01)


async def write(world: World, first: int, ready: anyio.Event) -> None:
    """Write and delete for ever, and say so after each commit."""
    caller = Caller(id=CALLERS[first % len(CALLERS)])
    for commit in count():
        if commit == AHEAD:
            await ready.wait()
        markers = list(range(first, first + AT_ONCE))
        await plant(world.record, caller, markers)
        say(caller=caller.id, wrote=markers)
        old = markers[:DELETED]
        async with world.record.write(caller.id) as db:
            of = select(passage.c.id).where(passage.c.source.in_([f"m{one}" for one in old]))
            ids = list((await db.execute(of)).scalars())
            await db.execute(delete(passage).where(passage.c.id.in_(ids)))
        say(caller=caller.id, deleted=old)
        first += AT_ONCE
        await anyio.sleep(PACE)


async def main(home: Path, first: int) -> None:
    ready = anyio.Event()
    async with opened(home) as world, anyio.create_task_group() as tasks:
        tasks.start_soon(name_chroma, world, ready)
        tasks.start_soon(write, world, first, ready)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), int(sys.argv[2]))
