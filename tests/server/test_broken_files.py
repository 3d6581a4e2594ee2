"""A damaged database file: every call that needs it names it, the status says so, and moving it aside mends it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.server.doors import call, refused, until_ended

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio

ROOMS = {"atlas.db": "record", "letta.db": "letta", "runs.db": "runs"}
HELLO = {"agent": "librarian", "message": "Hello."}


@pytest.fixture
async def client(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[Client]:
    """A client of an ATLAS whose home the test's marker has put files in."""
    home.mkdir()
    for name, damage in request.param.items():
        damage(home / name)
    async with open_atlas(load_settings()) as atlas, Client(create_server(atlas, transport="stdio")) as connected:
        yield connected


def garbage(path: Path) -> None:
    path.write_text("not a database " * 1_000)


def damaged_within(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE thing (name TEXT)")
        database.commit()
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))


def empty(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize(("client", "name"), [({name: garbage}, name) for name in ROOMS], indirect=["client"])
async def test_a_file_that_is_no_database_is_named_until_it_is_moved_aside(
    client: Client, name: str, home: Path
) -> None:
    for _ in ("before anything was opened", "after it was refused"):
        status = await call(client, "get_status")
        failing = [room for room in status["rooms"] if room["health"] == "failing"]
        assert not status["ok"]
        assert [room["name"] for room in failing] == [ROOMS[name]]
        assert name in failing[0]["text"]
        assert "move it aside" in failing[0]["next_step"]
        told = await refused(client, "chat_with_agent", **HELLO)
        assert f"{name} cannot be used: file is not a database" in told
        assert "move it aside" in told
    (home / name).rename(home / f"{name}.aside")
    assert (await call(client, "chat_with_agent", **HELLO))["status"] == "completed"
    assert (await call(client, "get_status"))["ok"]


@pytest.mark.parametrize(("client", "name"), [({name: damaged_within}, name) for name in ROOMS], indirect=["client"])
async def test_a_database_that_is_damaged_within_is_named_by_the_task_that_needs_it(client: Client, name: str) -> None:
    result = await client.call_tool("run_team_task", {"goal": "When?", "wait_seconds": 0})
    told = json.dumps(result.structured_content) if not result.is_error else str(result.content)
    if not result.is_error and result.structured_content is not None:
        told = json.dumps(await until_ended(client, result.structured_content))
    assert f"{name} cannot be used" in told
    assert "unexpected" not in told


@pytest.mark.parametrize("client", [dict.fromkeys(ROOMS, empty)], indirect=True)
async def test_empty_files_are_as_good_as_none(client: Client) -> None:
    assert (await call(client, "get_status"))["ok"]
    assert (await call(client, "chat_with_agent", **HELLO))["status"] == "completed"
