from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from letta_client import InternalServerError

from atlas_mcp.embedded import database as database_room
from tests.embedded.conftest import open_letta, say
from tests.embedded.scripted_chat import Source

pytestmark = pytest.mark.anyio


async def test_a_file_of_a_newer_program_is_refused_and_left_as_it_is(database: Path) -> None:
    with sqlite3.connect(database) as newer:
        newer.execute("PRAGMA user_version = 999")
    before = database.read_bytes()
    async with open_letta(database, Source()) as letta:
        with pytest.raises(InternalServerError, match="use a newer program"):
            await letta.agents.create(name="a")
        assert (await letta.health()).status == "ok"
    assert database.read_bytes() == before


async def test_a_file_that_is_no_database_is_told_by_its_name(database: Path) -> None:
    database.write_text("not a database " * 1_000)
    async with open_letta(database, Source()) as letta:
        with pytest.raises(InternalServerError, match=database.name):
            await letta.agents.create(name="a")


async def test_many_openers_at_once_make_one_schema(database: Path) -> None:
    async def use(name: str) -> None:
        async with open_letta(database, Source()) as letta:
            await letta.agents.create(name=name)

    async with anyio.create_task_group() as tasks:
        for i in range(6):
            tasks.start_soon(use, f"a{i}")
    async with open_letta(database, Source()) as letta:
        assert len([agent async for agent in letta.agents.list()]) == 6


async def test_whoever_opens_a_new_file_waits_for_another_who_writes_into_it(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = sqlite3.connect(database, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")  # SQLite refuses the way to WAL at once then
    refused: list[float] = []

    def done(seconds: float) -> None:
        refused.append(seconds)
        other.close()

    monkeypatch.setattr(database_room, "sleep", done)
    async with open_letta(database, Source()) as letta:
        await letta.agents.create(name="a")
    assert len(refused) == 1


async def test_nothing_is_opened_before_the_first_request_that_needs_it(database: Path) -> None:
    async with open_letta(database, Source()) as letta:
        await letta.health()
        assert not database.exists()
        await letta.agents.create(name="a")
    assert database.exists()


async def test_a_full_disk_costs_the_turn_and_nothing_else(letta: Any, agent: Any, database: Path) -> None:
    await say(letta, agent.id, "one")
    with sqlite3.connect(database) as other:
        other.execute("CREATE TRIGGER full BEFORE INSERT ON run BEGIN SELECT RAISE(FAIL, 'disk is full'); END")
    with pytest.raises(InternalServerError):
        await say(letta, agent.id, "two")
    with sqlite3.connect(database) as other:
        other.execute("DROP TRIGGER full")
    assert [m.content async for m in letta.agents.messages.list(agent.id, order="asc")] == ["one", "ok: one"]
    assert (await say(letta, agent.id, "two")).messages[0].content == "ok: two"


def test_importing_the_room_loads_neither_the_web_framework_nor_the_models() -> None:
    heavy = "fastapi langchain langchain_core langgraph letta_client pydantic"
    program = f"import sys, atlas_mcp.embedded; print([m for m in '{heavy}'.split() if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"
