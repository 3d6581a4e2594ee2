"""Shared knowledge and the search of memory, as clients and agents use them."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client
from mcp.types import ListRootsResult, Root
from pydantic import FileUrl

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import UnknownAgent
from atlas_mcp.model.caller import Caller
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.server.doors import ERAS, MODERN, call, http_server, over_http, over_stdio, refused, until_ended

if TYPE_CHECKING:
    from pathlib import Path

    from mcp.client import ClientRequestContext

pytestmark = pytest.mark.anyio

OTHER = Caller(id="key:other", kind="key")


async def found(client: Client, query: str, **narrowed: Any) -> list[dict[str, Any]]:
    return (await call(client, "search_memory", query=query, **narrowed))["hits"]


async def test_what_is_shared_is_found_and_shared_again_becomes_a_new_revision(client_of_each_era: Client):
    client = client_of_each_era
    first = await call(client, "share_knowledge", name="Tea", text="Tea grows in Assam.")
    assert (first["revision"], first["changed"], first["chars"], first["chunks"]) == (1, True, 19, 1)
    (hit,) = await found(client, "where does tea grow?")
    assert (hit["kind"], hit["source"], hit["text"], hit["trust"]) == ("knowledge", "Tea", "Tea grows in Assam.", 1.0)
    assert hit["id"].startswith(first["id"])
    again = await call(client, "share_knowledge", name="Tea", text="Tea grows in Assam.")
    assert (again["revision"], again["changed"]) == (1, False)
    second = await call(client, "share_knowledge", name="Tea", text="Tea grows in Kenya.")
    assert (second["id"], second["revision"]) == (first["id"], 2)
    assert await found(client, "Assam") == []
    assert len(await found(client, "Kenya")) == 1


async def test_another_server_process_on_the_home_finds_it_at_once(client: Client):
    async with over_stdio(MODERN) as other:
        await call(client, "share_knowledge", name="Tea", text="Tea grows in Assam.")
        assert [hit["source"] for hit in await found(other, "tea")] == ["Tea"]


async def test_every_kind_of_memory_is_searched_and_each_can_be_asked_for_alone(client: Client, atlas: Atlas):
    await call(client, "share_knowledge", name="Tea", text="Darjeeling tea is sold in Hamburg.")
    await call(client, "chat_with_agent", agent="librarian", message="Remember that my tea is Darjeeling.")
    run = await call(
        client,
        "run_team_task",
        goal="Where is Darjeeling tea sold?",
        materials=[{"name": "note", "text": "Darjeeling tea is sold in Hamburg and in Bremen. It is a black tea."}],
        max_rounds=1,
    )
    assert (await until_ended(client, run))["status"] == "completed"
    await archived(atlas, "The Darjeeling harvest begins in March.")
    hits = await found(client, "Darjeeling", limit=50)
    assert {hit["kind"] for hit in hits} == {"knowledge", "block", "episodic", "archive"}
    assert [hit["score"] for hit in hits] == sorted((hit["score"] for hit in hits), reverse=True)
    assert all(0 <= hit["score"] <= 1 for hit in hits)
    for kind in ("knowledge", "block", "episodic", "archive"):
        alone = await found(client, "Darjeeling", kinds=[kind])
        assert alone, kind
        assert {hit["kind"] for hit in alone} == {kind}
    its_own = await found(client, "Darjeeling", agent="librarian")
    assert {hit["agent"] or hit["kind"] for hit in its_own} == {"librarian", "block"}, "it sees the shared blocks too"
    assert (await found(client, "Darjeeling", kinds=["episodic"]))[0]["id"].startswith(run["run_id"])


async def archived(atlas: Atlas, text: str) -> None:
    """Put a text into the librarian's archive, as the librarian itself does with its tool."""
    caller = atlas.local_caller()
    rooms = await atlas._keeper.rooms()
    letta = await rooms.lettas.of(caller)
    with closing(sqlite3.connect(atlas.settings.home / "atlas.db")) as record:
        (agent_id,) = record.execute("SELECT letta_id FROM agent WHERE name = 'librarian'").fetchone()
    await letta._client.agents.passages.create(agent_id, text=text)


async def test_a_project_and_an_agent_narrow_the_search(client: Client):
    await call(client, "share_knowledge", name="a", text="Tea of the north.", project="north")
    await call(client, "share_knowledge", name="a", text="Tea of the south.", project="south")
    assert [hit["text"] for hit in await found(client, "tea", project="north")] == ["Tea of the north."]
    assert await found(client, "tea", agent="librarian") == [], "the caller's knowledge is no agent's"
    assert "Did you mean 'librarian'" in await refused(client, "search_memory", query="tea", agent="libarian")
    told = await refused(client, "search_memory", query="tea", project="north", kinds=["archive"])
    assert "kinds: nothing of archive belongs to a project" in told


async def test_an_agent_finds_what_is_shared_and_shares_what_it_observed(atlas: Atlas):
    caller = atlas.local_caller()
    await atlas.share_knowledge(caller, "Plan", "The launch is in autumn.")
    rooms = await atlas._keeper.rooms()
    agents = await rooms.constellation(caller)
    session = agents.toolbox.session(agents.roster.agent("librarian"), None)
    assert {"search_knowledge", "share_observation"} <= {spec.name for spec in session.specs}
    hits = json.loads(await session.call("search_knowledge", {"query": "when is the launch?"}))["hits"]
    assert [(hit["document"], hit["by"]) for hit in hits] == [("Plan", "caller")]
    told = await session.call("share_observation", {"title": "Plan", "text": "The launch moved to winter."})
    assert "revision 1" in told
    assert "nothing changed" in await session.call(
        "share_observation", {"title": "Plan", "text": "The launch moved to winter."}
    )
    hits = (await atlas.search_memory(caller, "launch", kinds=["knowledge"])).hits
    assert [(hit.agent, hit.trust) for hit in hits] == [(None, 1.0), ("librarian", 0.6)], "the caller's own comes first"
    other = agents.toolbox.session(agents.roster.agent("web_researcher"), None)
    assert "moved to winter" in await other.call("search_knowledge", {"query": "launch"})


async def test_every_agent_of_the_roster_has_both_tools(atlas: Atlas):
    agents = await (await atlas._keeper.rooms()).constellation(atlas.local_caller())
    for agent in agents.roster.agents:
        names = {spec.name for spec in agents.toolbox.session(agent, None).specs}
        assert {"search_knowledge", "share_observation"} <= names, agent.name


async def test_two_callers_share_nothing(atlas: Atlas):
    me = atlas.local_caller()
    await atlas.share_knowledge(me, "Secret", "The word is swordfish.")
    await atlas.chat(me, "librarian", "Remember that my word is swordfish.")
    assert len((await atlas.search_memory(me, "swordfish")).hits) == 2
    assert (await atlas.search_memory(OTHER, "swordfish")).hits == []
    agents = await (await atlas._keeper.rooms()).constellation(OTHER)
    session = agents.toolbox.session(agents.roster.agent("librarian"), None)
    assert json.loads(await session.call("search_knowledge", {"query": "swordfish"}))["hits"] == []
    with pytest.raises(UnknownAgent):
        await atlas.search_memory(OTHER, "swordfish", agent="nobody")


async def test_searching_creates_no_agent(atlas: Atlas):
    assert (await atlas.search_memory(atlas.local_caller(), "anything")).hits == []
    with closing(sqlite3.connect(atlas.settings.home / "atlas.db")) as record:
        assert record.execute("SELECT count(*) FROM agent").fetchone() == (0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"name": "a"}, "text, path: exactly one"),
        ({"name": "a", "text": "x", "path": "y"}, "text, path: exactly one"),
        ({"name": " ", "text": "x"}, "name: the name is empty"),
        ({"name": "a", "text": " \n"}, "text: the text is empty"),
        ({"name": "a", "text": "a\0b"}, "text: it is not plain text"),
        ({"name": "a", "text": "x" * 2_000_001}, "text: 2,000,001 characters is too long"),
        ({"name": "a", "path": "note.md"}, "ATLAS_MATERIALS"),
        ({"name": "a", "txt": "x"}, "Did you mean 'text'"),
    ],
)
async def test_what_cannot_be_shared_is_refused_in_words(client: Client, arguments: dict[str, Any], words: str):
    assert words in await refused(client, "share_knowledge", **arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"query": ""}, "query: it has no words"),
        ({"query": "?!"}, "query: it has no words"),
        ({"query": "x" * 2_001}, "query: 2,001 characters"),
        ({"query": "x", "limit": 0}, "limit"),
        ({"query": "x", "kinds": ["graph"]}, "kinds"),
    ],
)
async def test_a_search_that_cannot_be_made_is_refused_in_words(client: Client, arguments: dict[str, Any], words: str):
    assert words in await refused(client, "search_memory", **arguments)


@pytest.mark.parametrize("query", ['"tea', "tea*", "NEAR(tea)", "text:tea", "tea AND", "^tea", "tea -assam", "(tea"])
async def test_the_indexs_own_syntax_is_only_text(client: Client, query: str):
    await call(client, "share_knowledge", name="Tea", text="Tea grows in Assam.")
    assert [hit["source"] for hit in await found(client, query)] == ["Tea"]


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_file_of_the_clients_own_folders_is_shared_and_no_other(tmp_path: Path, era: str):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "note.md").write_text("Tea grows in Assam.", encoding="utf-8")
    (folder / "image.png").write_bytes(b"\x89PNG\xff\xfe")
    (tmp_path / "secret.md").write_text("Secret.", encoding="utf-8")

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        return ListRootsResult(roots=[Root(uri=FileUrl(folder.as_uri()))])

    async with (
        open_atlas(load_settings()) as atlas,
        Client(create_server(atlas, transport="stdio"), mode=ERAS[era], list_roots_callback=roots) as client,
    ):
        made = await call(client, "share_knowledge", name="note", path=str(folder / "note.md"))
        assert made["chars"] == 19
        assert len(await found(client, "Assam")) == 1
        for path, words in (("../secret.md", "outside"), ("image.png", "not UTF-8"), ("none.md", "no such file")):
            assert words in await refused(client, "share_knowledge", name="x", path=str(folder / path))


async def test_over_http_a_path_is_refused_and_the_key_holder_has_knowledge_of_its_own():
    with http_server() as (address, key, _):
        async with over_http(address, key, "/mcp", MODERN) as remote, over_stdio(MODERN) as local:
            told = await refused(remote, "share_knowledge", name="x", path="/etc/hostname")
            assert "path: paths are refused over HTTP" in told
            await call(remote, "share_knowledge", name="Tea", text="Tea grows in Assam.")
            assert len(await found(remote, "tea")) == 1
            assert await found(local, "tea") == []
