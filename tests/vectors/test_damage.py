"""Chroma's files damaged, deleted or closed, its process killed or hanging: the record answers, Chroma comes back."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from tests.vectors.world import DEADLINE, best, directions, eventually, opened, plant

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.vectors.world import World

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

WRITTEN = 1100
"""Chroma writes its index with each thousandth change."""
VECTORS = directions(WRITTEN)


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose Chroma has written its index, and was closed."""
    home = tmp_path_factory.mktemp("fed") / "home"

    async def feed() -> None:
        async with opened(home) as world:
            await plant(world.record, VECTORS)
            await world.told()

    anyio.run(feed)
    assert next((home / "chroma" / "files").glob("*/data_level0.bin")).stat().st_size > 0
    assert not (home / "chroma" / "mark").exists()
    return home


@pytest.fixture
def home(fed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(fed, tmp_path / "home")


def halve(name: str) -> Callable[[Path], None]:
    def damage(files: Path) -> None:
        for path in files.rglob(name):
            os.truncate(path, path.stat().st_size // 2)

    return damage


def empty(name: str) -> Callable[[Path], None]:
    def damage(files: Path) -> None:
        for path in files.rglob(name):
            os.truncate(path, 0)

    return damage


def without_segments(files: Path) -> None:
    for path in files.iterdir():
        if path.is_dir():
            shutil.rmtree(path)


DAMAGE = {
    "vectors cut in half": halve("data_level0.bin"),
    "links emptied": empty("link_lists.bin"),
    "header cut in half": halve("header.bin"),
    "index deleted": without_segments,
    "database cut in half": halve("chroma.sqlite3"),
    "database deleted": lambda files: (files / "chroma.sqlite3").unlink(),
    "all deleted": lambda files: shutil.rmtree(files),
    "no folder any more": lambda files: (shutil.rmtree(files), files.write_text("not a folder"))[0],
}


async def right(world: World) -> None:
    """What is searched is found, whoever finds it."""
    for query in directions(3, seed=11):
        assert await world.nearest(query) == best(query, list(range(1, WRITTEN + 1)), VECTORS)


async def chroma_right(world: World) -> None:
    await world.told()
    for n in range(0, WRITTEN, 20):
        assert await world.asked_chroma(VECTORS[n], 1) == [n + 1]


@pytest.mark.parametrize("damage", DAMAGE)
async def test_with_damaged_files_the_search_is_right_at_once_and_chroma_is_filled_anew(
    home: Path, damage: str
) -> None:
    DAMAGE[damage](home / "chroma" / "files")
    async with opened(home) as world:
        await right(world)
        await chroma_right(world)
        await right(world)
        assert not list((home / "chroma").glob("broken-*")), "what is deleted later must not be left there"


async def test_files_that_somebody_ended_over_are_not_touched_again(home: Path) -> None:
    before = {path.name for path in (home / "chroma" / "files").iterdir() if path.is_dir()}
    (home / "chroma" / "mark").write_text("checking")
    async with opened(home) as world:
        await chroma_right(world)
        assert world.vectors.chroma.rebuilt == 1
    assert not before & {path.name for path in (home / "chroma" / "files").iterdir()}


async def test_files_deleted_under_it_are_filled_anew(home: Path) -> None:
    async with opened(home) as world:
        await world.told()
        first = world.vectors.chroma.pid
        shutil.rmtree(home / "chroma" / "files")
        (new,) = await plant(world.record, directions(1, seed=50), source="new")
        assert (await world.nearest(directions(1, seed=50)[0]))[0] == new
        await right(world)
        await eventually(lambda: world.vectors.chroma.pid not in (None, first), world.vectors.room)
        await chroma_right(world)
        assert await world.asked_chroma(directions(1, seed=50)[0], 1) == [new]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "hanging"])
async def test_a_chroma_that_ends_or_hangs_is_replaced_and_meanwhile_the_record_answers(
    home: Path, how: signal.Signals
) -> None:
    async with opened(home) as world:
        await world.told()
        first = world.vectors.chroma.pid
        assert first
        os.kill(first, how)
        await right(world)
        await eventually(lambda: world.vectors.chroma.pid not in (None, first), world.vectors.room)
        await chroma_right(world)
        with pytest.raises(ProcessLookupError):
            os.kill(first, 0)


async def test_a_chroma_that_hangs_in_the_middle_of_a_write_holds_up_neither_search_nor_end(home: Path) -> None:
    async with opened(home) as world:
        await world.told()
        pid = world.vectors.chroma.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
        more = directions(3000, seed=60)
        await plant(world.record, more, source="more")  # more than its pipe takes
        await world.nearest(more[0])
        assert world.vectors.chroma.pid == pid
        then = anyio.current_time()
    assert anyio.current_time() - then < 30
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def give_up_rights() -> None:
    """Let the modes of files hold for root, too: as for any user."""
    import ctypes

    for capability in (1, 2):
        ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)


async def test_files_that_cannot_be_written_are_told_and_the_record_answers(home: Path) -> None:
    folder = home / "chroma"
    for path in [folder, *folder.rglob("*")]:
        path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        command = [sys.executable, "-m", "tests.vectors.reader", str(home)]
        done = subprocess.run(  # noqa: ASYNC221 - nothing else runs here
            command, capture_output=True, text=True, check=False, timeout=DEADLINE, preexec_fn=give_up_rights,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
    finally:
        for path in [folder, *folder.rglob("*")]:
            path.chmod(0o700)
    said = json.loads(done.stdout or "{}")
    assert said.get("found") == best(VECTORS[0], list(range(1, WRITTEN + 1)), VECTORS), done.stderr
    assert said["health"] == "warning"
    assert "the record answers: PermissionError" in said["text"]
