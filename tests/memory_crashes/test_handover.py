"""The process that keeps Chroma is killed while another one of the home lives: that one takes over within seconds."""

from __future__ import annotations

import random
import sys
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest

from tests.memory_crashes.test_kills import check
from tests.memory_crashes.world import Said, Writer
from tests.vectors.world import eventually, opened

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


@pytest.mark.parametrize("chroma", [False, True], ids=["server", "server and Chroma"])
async def test_when_the_owner_is_killed_another_takes_over(home: Path, chroma: bool) -> None:
    said, writer = Said(), Writer(home, 0)
    try:
        await anyio.to_thread.run_sync(writer.wait_for, 4)
        async with opened(home) as world:
            await world.until("other")
            writer.kill(chroma=chroma)
            then = anyio.current_time()
            for line in writer.lines:
                said.take(line)
            await check(world, said, random.Random(1))
            await eventually(lambda: world.vectors.chroma.stage not in ("other", "idle"), world.vectors.room)
            taken = anyio.current_time() - then
            await world.told()
            sys.stdout.write(f"\ntaken over after {taken:.1f} s, whole after {anyio.current_time() - then:.1f} s\n")
            assert world.vectors.chroma.pid not in (None, writer.chroma)
            await check(world, said, random.Random(2), exact=False)
    finally:
        writer.kill()
