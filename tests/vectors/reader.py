"""Run as a program: searches in a home whose Chroma cannot be used, and says what it found and what it says of it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import anyio

from tests.vectors.world import directions, opened


async def main(home: Path) -> None:
    async with opened(home) as world:
        await world.until("failing")
        room = world.vectors.room()
        found = await world.nearest(directions(1100)[0])
        print(json.dumps({"found": found, "health": room.health, "text": room.text}))


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]))
