"""kill -9 at every point of an import and of a drain: the old state or the new one, and nothing left lying about."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from atlas_mcp.constellation.move_marks import has_marks
from tests.portable.conftest import atlas_on, content
from tests.portable.lettas import HERE, Second, second_letta
from tests.portable.process import AFTER, BEFORE, POINTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.letta.door import Letta

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(300)]


def killed_at(point: str, home: Path, *command: str) -> None:
    """Run the command until it is killed there."""
    process = [sys.executable, "-m", "tests.portable.process", point, *command]
    environment = {**os.environ, "ATLAS_HOME": str(home)}
    done = subprocess.run(process, capture_output=True, text=True, timeout=120, check=False, env=environment)
    assert done.returncode == -signal.SIGKILL, (done.stdout, done.stderr)


async def lettas_of(atlas: Atlas, *names: str) -> list[Letta]:
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
    return [await rooms.lettas.named(name) for name in names]


async def all_finished(home: Path) -> None:
    """Wait until nobody has to finish a move any more."""
    with anyio.fail_after(60):
        while has_marks(home / "moves"):  # noqa: ASYNC110 - nobody tells of it
            await anyio.sleep(0.05)


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two constellations, as files."""
    folder = tmp_path_factory.mktemp("stories")

    async def make(name: str, memory: str) -> None:
        async with atlas_on(folder / name) as atlas:
            me = atlas.local_caller("a host")
            await atlas.chat(me, "librarian", "What is a lighthouse?")
            await atlas.update_memory(me, "librarian", "human", value=memory)
            await atlas.update_memory(me, "strategist", "human", value=memory)
            await atlas.portable.export(me, folder / f"{name}.zip")

    anyio.run(make, "old", "Ada keeps a lighthouse.")
    anyio.run(make, "new", "Bo dives for wrecks.")
    return {name: folder / f"{name}.zip" for name in ("old", "new")}


def test_every_point_is_before_the_change_or_after_it() -> None:
    assert set(POINTS) == BEFORE | AFTER


@pytest.mark.parametrize("point", POINTS)
async def test_an_import_that_is_killed_leaves_the_old_constellation_or_the_new_one(
    point: str, stories: dict[str, Path], tmp_path: Path
) -> None:
    home, after = tmp_path / "home", tmp_path / "after.zip"
    async with atlas_on(home) as atlas:
        await atlas.portable.import_(atlas.local_caller(), stories["old"])
    await anyio.to_thread.run_sync(killed_at, point, home, "import", str(stories["new"]), "--replace")
    async with atlas_on(home) as atlas:
        me = atlas.local_caller()
        await all_finished(home)  # by the start alone: no call has been made
        await atlas.portable.export(me, after)
        assert content(after) == content(stories["old" if point in BEFORE else "new"])
        [letta] = await lettas_of(atlas, "embedded")
        agents = await letta.find_agents([])  # whatever their tags
        assert sorted(a.name for a in agents) == ["librarian", "strategist"], "none of the other constellation is left"
        assert all("atlas" in a.tags for a in agents)
        assert (await atlas.chat(me, "librarian", "Hello")).status == "completed"
        again = await atlas.portable.import_(me, stories["new"], replace=True)
        assert again.agents == 2
        await atlas.portable.export(me, after)
        assert content(after) == content(stories["new"])


@pytest.mark.parametrize("point", ["half changed", "changed", "tidied"])
async def test_a_roster_that_came_with_an_import_that_was_killed_counts_from_the_next_start_on_or_not_at_all(
    point: str, tmp_path: Path
) -> None:
    roster, file, home = tmp_path / "roster.toml", tmp_path / "file.zip", tmp_path / "home"
    roster.write_text('name = "mine"\nextends = "default"\n[rename.agents]\nlibrarian = "archivist"\n')
    async with atlas_on(tmp_path / "from", roster=roster) as atlas:
        await atlas.update_memory(atlas.local_caller(), "archivist", "human", value="Ada keeps bees.")
        await atlas.portable.export(atlas.local_caller(), file)
    await anyio.to_thread.run_sync(killed_at, point, home, "import", str(file))
    async with atlas_on(home) as atlas:
        names = [a.name for a in await atlas.list_agents(atlas.local_caller())]
        assert ("archivist" in names) == (point in AFTER)
        assert ("librarian" in names) == (point in BEFORE)


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Second]:
    with second_letta(tmp_path_factory.mktemp("second")) as letta:
        yield letta


@pytest.mark.parametrize("point", POINTS)
async def test_a_drain_that_is_killed_loses_nothing_and_the_next_one_completes_it(
    point: str, stories: dict[str, Path], tmp_path: Path, second: Second
) -> None:
    home, after = tmp_path / "home", tmp_path / "after.zip"
    async with atlas_on(home) as atlas:
        await atlas.portable.import_(atlas.local_caller(), stories["old"])
    settings: dict[str, Any] = {"letta_servers": [HERE | {"weight": 0}, second.server]}
    (home / "settings.toml").write_text(
        "".join(
            "[[letta_servers]]\n" + "".join(f"{k} = {v!r}\n" for k, v in s.items()) for s in settings["letta_servers"]
        )
    )
    there = len(second.agents()), len(second.blocks())
    await anyio.to_thread.run_sync(killed_at, point, home, "servers", "drain", "embedded")
    async with atlas_on(home) as atlas:
        me = atlas.local_caller()
        await all_finished(home)
        await atlas.portable.export(me, after)
        assert content(after) == content(stories["old"]), "where it is, it is whole"
        moved = await atlas.portable.drain("embedded")
        assert [m.problem for m in moved] == ([None] if point in BEFORE else [])
        await atlas.portable.export(me, after)
        assert content(after) == content(stories["old"])
        [left] = await lettas_of(atlas, "embedded")
        assert await left.find_agents([]) == []
        assert len(second.agents()) == there[0] + 2, "nothing is there twice"
        assert len(second.blocks()) > there[1]
        assert (await atlas.chat(me, "librarian", "Hello")).status == "completed"
        placed = await atlas.portable.move(me, "second")
        assert placed.notes
