"""What a team task leaves in the record, and what each further rating round adds: bytes, by what it is.

    python benchmarks/stored.py

The default roster and the offline model, in homes of their own; the criteria pull apart (few words, a whole answer), so
that a first round fails and a second one is rated. Bytes of texts and JSON in the rows of the run (`runs prune`
counts the same), without the indexes and the pages of the file around them.
"""

from __future__ import annotations

import os
import tempfile
from datetime import timedelta
from pathlib import Path

import anyio
from _machine import machine_line

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.runs.pruning import prune
from atlas_mcp.settings import load_settings

TEXT = "The keeper lit the lamp at dusk and trimmed the wick every four hours.\n\nThe boat came on Fridays with oil."
UNMET = ("at most 12 words", "answers the goal completely")


async def measure(rounds: int, folder: Path) -> tuple[int, int, int]:
    """Bytes that a task of so many rounds leaves, the rounds it took, and its turns."""
    os.environ["ATLAS_HOME"] = str(folder)
    task = TeamTask(
        goal="How was the light kept?",
        materials=(Material(name="log.txt", text=TEXT),),
        criteria=UNMET,
        max_rounds=rounds,
    )
    async with open_atlas(load_settings()) as atlas:
        run = await atlas.run_team_task(atlas.local_caller(), task, wait_seconds=45)
        assert run.result is not None, run.error
        rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
        left = await prune(rooms.record, timedelta(0))
    return left.bytes, run.result.rounds, run.usage.turns


def main() -> None:
    """Print the figures."""
    print(machine_line())
    before = 0
    for rounds in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            size, took, turns = anyio.run(measure, rounds, Path(folder))
        more = f", {(size - before) / 1000:.1f} KB more than with one less" if before else ""
        print(f"{took} rounds, {turns} turns: {size / 1000:.1f} KB{more}")
        before = size


if __name__ == "__main__":
    main()
