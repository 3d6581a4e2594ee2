"""One process of test_callers.py: ten callers keep and search at once, and what each was given is printed.

python callers_process.py NAME ROUNDS      on the home and the stores of the environment
"""

from __future__ import annotations

import json
import sys
from typing import Any

import anyio
import anyio.to_thread

from atlas_mcp._config import stores
from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.memory.hybrid import HybridMemory, open_memory
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Triple
from atlas_mcp.settings import load_settings
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record

CALLERS = 10
SHARED_WORDS = "The heron of Overijssel nests in the alders by the old lock"


def marker(caller: int) -> str:
    """What stands in all that is this caller's, and in nothing else."""
    return f"marker{chr(ord('a') + caller)}zq"


async def live(atlas: Atlas, memory: HybridMemory, who: int, name: str, rounds: int, seen: list[str]) -> None:
    """One caller's life: everybody's words are the same but for the marker; `seen` gets all that comes back."""
    caller, mine = Caller(id=f"local:caller{who}"), marker(who)
    working = memory.working(caller)
    for n in range(rounds):
        here = f"{name} {n}"
        await atlas.share_knowledge(caller, f"herons {here}", f"{SHARED_WORDS}, {mine} of {here}.")
        kept = await atlas.memories.remember(caller, f"{SHARED_WORDS}: {mine} was told so by {here}.")
        triple = Triple(subject="heron", relation="nests in", object=f"alder {mine} {here}")
        await atlas.facts.relate(caller, [triple])
        await working.set("plan", [mine, here])
        await working.increment("rounds")
        everything: list[Any] = [
            await atlas.search_memory(caller, SHARED_WORDS, limit=20),
            await atlas.search_memory(caller, "heron", limit=20),
            await atlas.memories.list(caller),
            await atlas.memories.get(caller, kept.id),
            await atlas.facts.recall(caller, "heron"),
        ]
        seen += [str(one) for one in everything]
        seen += [json.dumps(await working.get("plan")), json.dumps(await working.names())]


async def main(name: str, rounds: int) -> None:
    settings = load_settings()
    seen: dict[int, list[str]] = {who: [] for who in range(CALLERS)}
    async with (
        open_atlas(settings) as atlas,
        open_record(settings.home) as record,
        open_memory(record, settings.home, Locks(settings.home / "locks"), stores(settings)) as memory,
    ):
        await atlas.share_knowledge(Caller(id="local:opener"), "opening", "So that the record is there.")
        if memory.redis is not None:
            await memory.redis.link.until(answers=True)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        await anyio.to_thread.run_sync(sys.stdin.readline)
        async with anyio.create_task_group() as tasks:
            for who in range(CALLERS):
                tasks.start_soon(live, atlas, memory, who, name, rounds, seen[who])
    sys.stdout.write(json.dumps(seen) + "\n")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1], int(sys.argv[2]))
