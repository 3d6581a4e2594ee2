"""ATLAS's own time per turn of a group of four agents in round robin.

    python benchmarks/group.py [talks]            on the embedded Letta, with a model that costs nothing
    python benchmarks/group.py --real [talks]     on a real Letta 0.16.8 with PostgreSQL, as the tests start it

ATLAS's own time: that of a talk of four turns, less the time in which Letta has the messages (from sending each to its
answer), by four. Of it the group's share is told apart: what is not in the turns as the constellation takes them.
Printed beside: the same four agents spoken to one after the other by `Atlas.chat`. All go on in one conversation each.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
from _machine import machine_line, summary

sys.path.insert(0, str(Path(__file__).parents[1]))
from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.constellation.constellation import Constellation
from atlas_mcp.letta.door import Letta
from atlas_mcp.settings import load_settings
from tests.scripted_model import ScriptedModel

GROUP = "sounding_board"
AGENTS = ["strategist", "financial_analyst", "source_verifier", "quality_reviewer"]
WARM_UP = 3


class Timed:
    """The milliseconds that calls of a method took."""

    def __init__(self, of: type, method: str) -> None:
        self.took: list[float] = []
        do = getattr(of, method)

        async def timed(this: Any, *given: Any, **more: Any) -> Any:
            begun = time.perf_counter()
            try:
                return await do(this, *given, **more)
            finally:
                self.took.append((time.perf_counter() - begun) * 1e3)

        setattr(of, method, timed)


async def talks(atlas: Atlas, turns: Timed, sends: Timed, count: int) -> dict[str, list[float]]:
    """The samples by what they are: of each talk by its turns, and of each chat."""
    me = atlas.local_caller()
    own: list[float] = []
    grouping: list[float] = []
    letta: list[float] = []
    chats: list[float] = []
    for number in range(count + WARM_UP):
        turns.took.clear()
        sends.took.clear()
        begun = time.perf_counter()
        reply = await atlas.groups.chat(me, GROUP, f"Is idea {number} any good?")
        whole = (time.perf_counter() - begun) * 1e3
        if reply.status != "completed" or len(turns.took) != len(AGENTS):
            raise SystemExit(f"a talk of {len(turns.took)} turns: {reply}")
        taken, sent = sum(turns.took), list(sends.took)
        for agent in AGENTS:
            begun = time.perf_counter()
            await atlas.chat(me, agent, f"Is idea {number} any good?")
            if number >= WARM_UP:
                chats.append((time.perf_counter() - begun) * 1e3)
        if number >= WARM_UP:
            own.append((whole - sum(sent)) / len(AGENTS))
            grouping.append((whole - taken) / len(AGENTS))
            letta += sent
    return {
        "ATLAS's own time per turn": own,
        "of it, for the group": grouping,
        "Letta's time per turn": letta,
        "a chat with one agent, whole": chats,
    }


async def main(count: int) -> None:
    turns, sends = Timed(Constellation, "take_turn"), Timed(Letta, "send")
    async with open_atlas(load_settings()) as atlas:
        samples = await talks(atlas, turns, sends, count)
        rooms = {room.name: room.text for room in (await atlas.status(atlas.local_caller())).rooms}
    print(rooms["letta"])
    for what, took in samples.items():
        print(f"{what:30s} {summary(took)}")


if __name__ == "__main__":
    real = "--real" in sys.argv
    number = next((int(a) for a in sys.argv[1:] if a.isdigit()), 20)
    print(machine_line())
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        os.environ["ATLAS_HOME"] = home
        if real:
            from tests.real_letta import real_letta

            letta = stack.enter_context(real_letta())
            os.environ |= {
                "LETTA_BASE_URL": letta.url,
                "LETTA_MODEL": letta.model,
                "LETTA_EMBEDDING_MODEL": letta.embedding,
            }
            letta.scripted.on(lambda _: True, "One thing speaks for it, and another one speaks against it.")
        else:
            model = stack.enter_context(ScriptedModel())
            model.on(lambda _: True, "One thing speaks for it, and another one speaks against it.")
            os.environ |= {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"}
        anyio.run(main, number)
