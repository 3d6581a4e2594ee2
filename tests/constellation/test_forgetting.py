"""Forgetting in what agents remember, in the same process and on a Letta at an address, and in what they were told."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.embedded import erasing
from atlas_mcp.letta.moving import PassageState
from atlas_mcp.memory.redacting import MARK, Redactor
from tests.constellation.conftest import open_world, open_world_over_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from tests.constellation.conftest import World

pytestmark = pytest.mark.anyio
SECRET = "The vault at Lund opens with quagga71x, and Ada keeps the second key."
OTHER = "Tea is grown in Darjeeling."
REDACTOR = Redactor([SECRET])


@pytest.fixture(params=["here", "served"])
async def anywhere(home: Path, request: pytest.FixtureRequest) -> AsyncIterator[World]:
    opened = open_world(home) if request.param == "here" else open_world_over_http(home, "the-key")
    async with opened as world:
        yield world


async def test_blocks_and_archives_keep_what_else_stands_in_them(anywhere: World) -> None:
    me, letta = anywhere.of(), anywhere.letta
    await me.update_memory("librarian", "human", value=f"{OTHER}\n- {SECRET}")
    (kept,) = await me.forgetting.agents()
    for text in (f"{OTHER} {SECRET}", SECRET, OTHER):
        await letta.moves.add_passage(kept.letta_id, PassageState(text, ("log",), datetime(2020, 1, 2, tzinfo=UTC)))
    would = await me.forgetting.take_out(REDACTOR, dry=True)
    assert would == {"memory blocks": 1, "archives of agents": 2}
    assert (await me.get_memory("librarian", "human"))[0].value.endswith(SECRET)
    assert await me.forgetting.take_out(REDACTOR) == would
    assert (await me.get_memory("librarian", "human"))[0].value == OTHER
    left = await letta.moves.passages(kept.letta_id)
    assert sorted(one.text for one in left) == sorted([OTHER, f"{OTHER} {MARK}."])
    assert {(one.tags, one.created_at.year) for one in left} == {(("log",), 2020)}
    assert await me.forgetting.take_out(REDACTOR) == {}
    assert (me.forgetting.on_server is None) == (letta.kind == "embedded")


async def test_a_runs_conversations_are_deleted(anywhere: World) -> None:
    me = anywhere.of()
    thread = await me.open_conversation("librarian", run_id="run_1")
    other = await me.open_conversation("librarian")
    for conversation, key in ((thread, "a"), (other, "b")):
        await me.take_turn("librarian", "hello", conversation=conversation, key=key)
    assert await me.forgetting.delete_conversations("run_1") == 1
    assert await me.forgetting.delete_conversations("run_1") == 1  # what is not there is no error
    assert (await me.take_turn("librarian", "again", conversation=other, key="c")).reply == "ok: again"


async def test_what_was_said_is_taken_out_of_the_thread_that_processes_have_read(home: Path) -> None:
    async with open_world(home) as world:
        me = world.of()
        thread = await me.open_conversation("librarian")
        for n, said in enumerate(["first", f"note: {SECRET}", "third"]):
            await me.take_turn("librarian", said, conversation=thread, key=f"k{n}")
        (kept,) = await me.forgetting.agents()
        assert erasing.threads_with(home / "letta.db", [kept.letta_id], REDACTOR.mend) == {thread: 2}
        erasing.erase(home / "letta.db", thread, REDACTOR.mend)
        assert erasing.threads_with(home / "letta.db", [kept.letta_id], REDACTOR.mend) == {}
        await me.take_turn("librarian", "fourth", conversation=thread, key="k4")
        seen = [m.text for m in world.script.seen[-1] if m.type == "human"]
        assert seen == ["first", f"note: {MARK}.", "third", "fourth"]


async def test_a_summary_and_what_it_sums_up_are_changed_where_they_are(home: Path) -> None:
    async with open_world(home) as world:
        me = world.of()
        thread = await me.open_conversation("librarian")
        for n, said in enumerate(["first", f"note: {SECRET}", "third"]):
            await me.take_turn("librarian", said, conversation=thread, key=f"k{n}")
        (kept,) = await me.forgetting.agents()
        with closing(sqlite3.connect(home / "letta.db")) as file, file:
            (upto,) = file.execute("SELECT max(seq) FROM message WHERE content LIKE '%note%'").fetchone()
            row = (thread, kept.letta_id, upto, f"They spoke of this: {SECRET}", "2026-01-01T00:00:00+00:00")
            file.execute("INSERT INTO summary VALUES (?, ?, ?, ?, ?)", row)
            before = file.execute("SELECT seq FROM message ORDER BY seq").fetchall()
        erasing.erase(home / "letta.db", thread, REDACTOR.mend)
        with closing(sqlite3.connect(home / "letta.db")) as file:
            assert file.execute("SELECT seq FROM message ORDER BY seq").fetchall() == before
            assert file.execute("SELECT text FROM summary").fetchone()[0] == f"They spoke of this: {MARK}."
        assert erasing.threads_with(home / "letta.db", [kept.letta_id], REDACTOR.mend) == {}
