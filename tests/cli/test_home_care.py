"""`atlas-mcp backup`, `restore` and `memory check`, beside a server that works and without one."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.model.forgetting import Target
from atlas_mcp.settings import load_settings

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]
HERON = "The heron of Overijssel nests in the alders by the old lock."
OTTER = "The otter of Drenthe was seen below the weir in March."


async def atlas_mcp(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    return await anyio.run_process([sys.executable, "-m", "atlas_mcp", *arguments], check=False)


async def found(atlas: Atlas, query: str) -> list[str]:
    hits = (await atlas.search_memory(atlas.local_caller(), query, kinds=["knowledge", "long_term"])).hits
    return sorted({hit.text for hit in hits})


async def reply_of_the_librarian(atlas: Atlas) -> str:
    reply = await atlas.chat(atlas.local_caller(), "librarian", "Hello.")
    return reply.status


def lose_memories(home: Path) -> None:
    """Take away what memories are found by."""
    with closing(sqlite3.connect(home / "atlas.db", timeout=60)) as record:
        record.execute("DELETE FROM passage WHERE kind = 'long_term'")
        record.commit()


async def test_a_home_is_written_while_a_server_works_and_put_back_when_it_has_stopped(tmp_path: Path) -> None:
    file = tmp_path / "home.atlas"
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        await atlas.share_knowledge(me, "herons", HERON)
        assert await reply_of_the_librarian(atlas) == "completed"
        block = (await atlas.get_memory(me, "librarian"))[0]
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(reply_of_the_librarian, atlas)
            written = await atlas_mcp("backup", str(file))
        assert written.returncode == 0, written.stderr
        assert b"read again and whole" in written.stdout
        again = await atlas_mcp("backup", str(file))
        assert (again.returncode, b"is there already" in again.stderr) == (2, True)
        await atlas.share_knowledge(me, "otters", OTTER)
        await atlas.update_memory(me, "librarian", block.label, append="And otters.")
        refused = await atlas_mcp("restore", str(file))
        assert (refused.returncode, b"a server has" in refused.stderr) == (2, True)
        assert await found(atlas, "otter") == [OTTER]
    restored = await atlas_mcp("restore", str(file))
    assert restored.returncode == 0, restored.stderr
    assert b"What was there is in" in restored.stdout
    async with open_atlas(load_settings()) as atlas:
        assert await found(atlas, "heron") == [HERON]
        assert await found(atlas, "otter") == []
        values = {one.label: one.value for one in await atlas.get_memory(atlas.local_caller(), "librarian")}
        assert values[block.label] == block.value, "the agents are of the same moment as the record"
        assert await reply_of_the_librarian(atlas) == "completed"


async def test_what_was_forgotten_after_a_backup_is_not_brought_back_by_it(tmp_path: Path) -> None:
    file = tmp_path / "home.atlas"
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        await atlas.share_knowledge(me, "herons", HERON)
        otter = await atlas.memories.remember(me, OTTER)
        assert (await atlas_mcp("backup", str(file))).returncode == 0
        await atlas.forget(me, Target(id=otter.id), confirm=True)
    assert (await atlas_mcp("restore", str(file))).returncode == 0
    async with open_atlas(load_settings()) as atlas:
        assert await found(atlas, "otter") == []
        assert await found(atlas, "heron") == [HERON]
        assert [one.id for one in await atlas.memories.list(atlas.local_caller())] == []
    assert (await atlas_mcp("memory", "check")).returncode == 0


async def test_the_stores_are_compared_beside_a_server_and_mended(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas:
        await atlas.share_knowledge(atlas.local_caller(), "herons", HERON)
        await atlas.memories.remember(atlas.local_caller(), OTTER)
        well = await atlas_mcp("memory", "check")
        assert well.returncode == 0, well.stdout
        await anyio.to_thread.run_sync(lose_memories, home)  # meanwhile a writer of this process can come to its end
        assert await found(atlas, "otter weir") == []
        ill = await atlas_mcp("memory", "check")
        assert ill.returncode == 1
        assert b"1 memories have no passage to be found by: to be mended with --repair" in ill.stdout
        rooms = {room.name: room for room in (await atlas.status(atlas.local_caller())).rooms}
        assert rooms["memory"].health == "warning"
        assert "no passage to be found by" in rooms["memory"].text
        mended = await atlas_mcp("memory", "check", "--repair")
        assert (mended.returncode, b": mended" in mended.stdout) == (0, True)
        assert await found(atlas, "otter weir") == [OTTER]
        assert (await atlas_mcp("memory", "check")).returncode == 0
        rooms = {room.name: room for room in (await atlas.status(atlas.local_caller())).rooms}
        assert rooms["memory"].health == "ok"
