"""Memories as a client keeps, lists, corrects and takes them back."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client

from atlas_mcp.model.caller import Caller
from atlas_mcp.model.memory_item import New
from atlas_mcp.server import create_server
from tests.server.doors import call, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.memory.memories import Memories

pytestmark = pytest.mark.anyio
OTHER = Caller(id="key:other", kind="key")
BLUE, RED = "The lamp of the north pier is blue.", "The lamp of the north pier is red."


@pytest.fixture
async def client(atlas: Atlas) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio", toolset="memory")) as connected:
        yield connected


async def listed(client: Client, **narrowed: Any) -> list[str]:
    return [one["text"] for one in (await call(client, "list_memories", **narrowed))["memories"]]


async def stored(atlas: Atlas, *news: New, caller: Caller | None = None) -> Memories:
    """What agents and runs stored, as they do it."""
    memories = (await atlas._keeper.rooms()).memory.memories(caller or atlas.local_caller())  # pyright: ignore[reportPrivateUsage]
    await memories.add_all(news)
    return memories


async def test_what_is_remembered_is_found_listed_corrected_and_taken_back(client: Client) -> None:
    kept = await call(client, "remember", text=BLUE, about="north pier", scope="team:research")
    assert (kept["author"], kept["trust"], kept["kind"], kept["revision"]) == ("caller", 1.0, "long_term", 1)
    [hit] = (await call(client, "search_memory", query="lamp pier", kinds=["long_term"]))["hits"]
    assert (hit["text"], hit["kind"]) == (BLUE, "long_term")
    right = await call(client, "correct_memory", id=kept["id"], text=RED, expected_revision=1)
    assert (right["text"], right["revision"]) == (RED, 2)
    [one] = (await call(client, "list_memories", id=kept["id"]))["memories"]
    assert [past["operation"] for past in one["history"]] == ["corrected", "created"]
    undone = await call(client, "undo_memory", id=hit["id"])
    assert [one["text"] for one in undone["memories"]] == [BLUE], "a search names it by its passage"
    undone = await call(client, "undo_memory", id=kept["id"], revision=2)
    assert [one["text"] for one in undone["memories"]] == [RED]
    assert await listed(client, scope="team:research") == [RED]


async def test_what_one_key_says_is_one_thing_and_the_older_is_found_as_superseded(client: Client) -> None:
    await call(client, "remember", text=BLUE, key="colour of the lamp")
    red = await call(client, "remember", text=RED, key="colour of the lamp")
    assert await listed(client) == [RED]
    [_, blue] = (await call(client, "list_memories", everything=True))["memories"]
    assert (blue["text"], blue["superseded_by"]) == (BLUE, red["id"])
    await call(client, "undo_memory", id=red["id"])
    assert await listed(client) == [BLUE]


async def test_all_that_a_run_stored_is_taken_back_by_its_id(client: Client, atlas: Atlas) -> None:
    of_run: dict[str, Any] = {"kind": "procedural", "author": "agent:librarian", "run_id": "run-1"}
    await stored(atlas, New(text=BLUE, **of_run), New(text="Ask the reader first.", **of_run))
    await call(client, "remember", text=RED)
    assert sorted(await listed(client, run_id="run-1")) == ["Ask the reader first.", BLUE]
    undone = await call(client, "undo_memory", run_id="run-1")
    assert {one["text"] for one in undone["memories"]} == {"Ask the reader first.", BLUE}
    assert await listed(client) == [RED]
    assert (await call(client, "search_memory", query="reader first"))["hits"] == []
    assert "there is no run 'run-9'" in await refused(client, "undo_memory", run_id="run-9")


async def test_what_an_agent_noted_in_its_block_during_a_run_is_taken_back_with_the_run(
    client: Client, atlas: Atlas
) -> None:
    await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada.")
    caller = atlas.local_caller()
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
    agents = await rooms.constellation(caller)
    turn = await agents.take_turn(
        "librarian", "Remember that I like tea.", conversation="new", key="run-1:1", run_id="run-1"
    )
    [change] = turn.memory_changes
    before = (await call(client, "get_agent_memory", agent="librarian", label=change.label))["blocks"][0]
    assert "tea" in before["value"]
    undone = await call(client, "undo_memory", run_id="run-1")
    [block] = undone["blocks"]
    assert (block["label"], "tea" in block["value"]) == (change.label, False)
    assert "there is no run" in await refused(client, "undo_memory", run_id="run-1"), "nothing of it is left"


async def test_pages_of_memories_follow_each_other(client: Client) -> None:
    for number in range(5):
        await call(client, "remember", text=f"There are {number} lamps.")
    first = await call(client, "list_memories", limit=3)
    second = await call(client, "list_memories", limit=3, after=first["next_after"])
    assert [one["text"][10] for one in first["memories"] + second["memories"]] == ["4", "3", "2", "1", "0"]
    assert second["next_after"] is None


async def test_nobody_is_given_or_can_change_what_is_another_callers(client: Client, atlas: Atlas) -> None:
    theirs = await stored(atlas, New(kind="long_term", text="A secret.", run_id="run-1"), caller=OTHER)
    [secret] = await theirs.list()
    assert await listed(client, everything=True) == []
    for name, arguments in (
        ("list_memories", {"id": secret.id}),
        ("correct_memory", {"id": secret.id, "text": "x"}),
        ("undo_memory", {"id": secret.id}),
    ):
        assert f"there is no memory '{secret.id}'" in await refused(client, name, **arguments)
    assert "there is no run 'run-1'" in await refused(client, "undo_memory", run_id="run-1")
    assert [one.text for one in await theirs.list()] == ["A secret."]


@pytest.mark.parametrize(
    ("name", "arguments", "words"),
    [
        ("remember", {"text": " "}, "text: the text is empty."),
        ("remember", {"text": "x", "scope": "agent:libarian"}, "'librarian'?"),
        ("remember", {"text": "x", "scope": "team:reserch"}, "'research'?"),
        ("remember", {"text": "x", "scope": "everyone"}, "scope: 'everyone' is nobody"),
        ("remember", {"text": "x", "kind": "knowledge"}, "kind"),
        ("remember", {"text": "x", "hours": 0}, "hours"),
        ("remember", {"text": "x" * 20_001}, "text: 20,001 characters is too long"),
        ("list_memories", {"agent": "libarian"}, "'librarian'?"),
        ("list_memories", {"after": "mem-0"}, "there is no memory 'mem-0'"),
        ("correct_memory", {"id": "mem-0", "text": "x"}, "there is no memory 'mem-0'"),
        ("undo_memory", {"id": "mem-0"}, "there is no memory 'mem-0'"),
        ("undo_memory", {}, "they do not name one thing to undo"),
        ("undo_memory", {"id": "mem-0", "run_id": "run-1"}, "they do not name one thing to undo"),
        ("undo_memory", {"run_id": "run-1", "revision": 2}, "they do not name one thing to undo"),
        ("undo_memory", {"agent": "librarian", "revision": 2}, "they do not name one thing to undo"),
    ],
)
async def test_what_cannot_be_done_is_told_in_words(
    client: Client, name: str, arguments: dict[str, Any], words: str
) -> None:
    assert words in await refused(client, name, **arguments)


async def test_the_tools_for_memories_are_offered_with_their_toolset_and_described(
    atlas: Atlas, client: Client
) -> None:
    async with Client(create_server(atlas, transport="stdio")) as plain:
        core = {tool.name for tool in (await plain.list_tools()).tools}
    more = [tool for tool in (await client.list_tools()).tools if tool.name not in core]
    assert {"remember", "list_memories", "correct_memory"} <= {tool.name for tool in more}
    for tool in more:
        assert tool.description
        assert all("description" in one for one in tool.input_schema["properties"].values()), tool.name
        assert '"title":' not in json.dumps([tool.input_schema, tool.output_schema])
