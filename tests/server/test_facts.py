"""The knowledge graph as clients and agents use it: tools of the memory toolset, resources, agents' own tools."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from mcp import MCPError
from mcp.client import Client

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.caller import Caller
from atlas_mcp.server import create_server
from tests.server.doors import ERAS, call, refused

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_mcp.atlas import Atlas

pytestmark = pytest.mark.anyio

OTHER = Caller(id="key:other", kind="key")


@pytest.fixture(params=list(ERAS))
async def client(atlas: Atlas, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio", toolset="memory"), mode=ERAS[request.param]) as connected:
        yield connected


def triple(subject: str, relation: str, object: str, **more: Any) -> dict[str, Any]:
    return {"subject": subject, "relation": relation, "object": object, **more}


async def read(client: Client, address: str) -> dict[str, Any]:
    (content,) = (await client.read_resource(address)).contents
    return json.loads(content.text)  # pyright: ignore[reportAttributeAccessIssue]  # of a text resource


async def test_the_tools_are_offered_with_their_toolset_only(atlas: Atlas):
    offered = {}
    for toolset in ("core", "memory", "admin", "all"):
        async with Client(create_server(atlas, transport="stdio", toolset=toolset)) as connected:
            offered[toolset] = {tool.name for tool in (await connected.list_tools()).tools}
    ours = {"recall_facts", "relate", "merge_entities", "split_entity"}
    assert ours <= offered["memory"] & offered["all"]
    assert not ours & (offered["core"] | offered["admin"])
    assert offered["core"] < offered["memory"] < offered["all"]


async def test_facts_are_told_superseded_and_recalled_for_a_time(client: Client):
    old, new = (
        await call(
            client,
            "relate",
            facts=[
                triple("Ann", "lives_in", "Oslo", true_from="2010-01-01", sources=["a.txt"]),
                triple("Ann", "lives_in", "Rome", true_from="2020-01-01T00:00:00+01:00"),
            ],
        )
    )["facts"]
    assert (old["outcome"], new["superseded"]) == ("new", [old["fact"]["id"]])
    (now,) = (await call(client, "recall_facts", about="Where does Ann live?"))["facts"]
    assert (now["object"], now["author"], now["trust"]) == ("Rome", "caller", 1.0)
    (then,) = (await call(client, "recall_facts", about="Ann", at="2015-06-01"))["facts"]
    assert (then["object"], [s["source"] for s in then["sources"]]) == ("Oslo", ["a.txt"])
    history = (await call(client, "recall_facts", about="Ann", history=True))["facts"]
    (held,) = [one for one in history if one["superseded_by"]]
    assert (len(history), held["superseded_by"], held["true_until"]) == (3, new["fact"]["id"], None)
    before = (await call(client, "recall_facts", about="Ann", known_at=held["learned_at"]))["facts"]
    assert [one["object"] for one in before] == ["Oslo"]


async def test_what_is_around_a_thing_and_how_two_are_connected(client: Client):
    await call(client, "relate", facts=[triple("Ann", "works_for", "Acme"), triple("Acme", "located_in", "Oslo")])
    around = await call(client, "recall_facts", about="Ann", depth=2)
    assert [(one["name"], one["distance"]) for one in around["entities"]] == [("Ann", 0), ("Acme", 1), ("Oslo", 2)]
    way = await call(client, "recall_facts", about="Oslo", to="Ann")
    assert [one["text"] for one in way["facts"]] == ["Acme located in Oslo", "Ann works for Acme"]
    of_it = (await call(client, "recall_facts", about="Acme", relation="Works for"))["facts"]
    assert [one["subject"] for one in of_it] == ["Ann"]


async def test_things_are_merged_and_split(client: Client):
    await call(client, "relate", facts=[triple("Ann", "knows", "Bob"), triple("Dr Lee", "knows", "Tom")])
    merged = await call(client, "merge_entities", keep="Ann", other="Dr Lee")
    assert merged["entity"]["also"] == ["Dr Lee"]
    assert len((await call(client, "recall_facts", about="Ann"))["facts"]) == 2
    assert (await call(client, "split_entity", entity="Dr Lee"))["name"] == "Dr Lee"
    assert len((await call(client, "recall_facts", about="Ann"))["facts"]) == 1


async def test_what_cannot_be_told_or_asked_is_refused_with_what_would_be_right(client: Client):
    told = await refused(client, "relate", facts=[{"subject": "Ann", "relation": "knows"}])
    assert "facts[0]: exactly one of object and value" in told
    assert "depth" in await refused(client, "recall_facts", about="Ann", depth=4)
    assert "nothing is known of 'Nobody'" in await refused(client, "recall_facts", about="Nobody", to="Ann")
    assert "colour" in await refused(client, "relate", facts=[triple("a", "b", "c", colour="red")])
    assert (await call(client, "recall_facts", about="Nobody"))["notes"] == ["nothing is known of 'Nobody'."]


async def test_the_graph_is_a_resource_of_the_caller_alone(client: Client, atlas: Atlas):
    names = ("Ann", "東京タワー", "TCP/IP", "C++ & Co? #1 100%")
    await call(client, "relate", facts=[triple(name, "is_part_of", "Ann's list") for name in names])
    overview = await read(client, "atlas://graph")
    assert (overview["facts"], overview["entities"]) == (4, 5)
    assert len((await read(client, "atlas://graph?limit=2"))["known_best"]) == 2
    for name in names:
        around = await read(client, f"atlas://graph/{quote(name, safe='')}")
        assert [one["subject"] for one in around["facts"]] == [name]
    with pytest.raises(MCPError, match="nothing is known of 'Nobody'"):
        await client.read_resource("atlas://graph/Nobody")
    assert (await atlas.facts.overview(OTHER)).facts == 0
    offered = [one.uri_template for one in (await client.list_resource_templates()).resource_templates]
    assert {"atlas://graph{?limit}", "atlas://graph/{entity}"} <= set(offered)


async def test_agents_tell_and_recall_facts_under_their_own_names(client: Client, atlas: Atlas):
    rooms = await atlas._keeper.rooms()
    agents = await rooms.constellation(atlas.local_caller())
    researcher = agents.toolbox.session(agents.roster.agent("web_researcher"), None)
    assert {"relate", "recall_facts"} <= {spec.name for spec in researcher.specs}
    first = await researcher.call(
        "relate",
        {"subject": "Acme", "relation": "led_by", "object": "Ann", "source": "acme.txt", "true_from": "2020-01-01"},
    )
    assert first.startswith("Kept: Acme led by Ann (fact-")
    secret = {"subject": "Acme", "relation": "has_rumour", "value": "a merger", "whom": "team"}
    await researcher.call("relate", secret)
    (mine, own) = json.loads(await researcher.call("recall_facts", {"about": "Acme"}))["facts"][::-1]
    assert mine == {
        "id": first.partition("(")[2].removesuffix(")."),
        "fact": "Acme led by Ann",
        "from": "2020-01-01",
        "by": "web_researcher",
        "sources": ["acme.txt"],
    }
    assert own["fact"] == "Acme has rumour a merger"
    librarian = agents.toolbox.session(agents.roster.agent("librarian"), None)
    seen = json.loads(await librarian.call("recall_facts", {"about": "Acme"}))["facts"]
    assert [one["fact"] for one in seen] == ["Acme led by Ann"]
    assert len((await call(client, "recall_facts", about="Acme"))["facts"]) == 2
    await call(client, "relate", facts=[triple("Acme", "led_by", "Tom", true_from="2021-01-01")])
    disputed = await librarian.call("relate", {"subject": "Acme", "relation": "led_by", "object": "Mia"})
    assert "contradicts fact-" in disputed
    for wrong, says in (
        ({"subject": "Acme", "relation": "x"}, "exactly one of object and value"),
        ({"subject": "Acme", "relation": "x", "value": "y", "whom": "team"}, "all, me"),
        ({"subject": "Acme", "relation": "x", "value": "y", "true_from": "soon"}, "true_from"),
    ):
        with pytest.raises(ToolFailed, match=says):
            await librarian.call("relate", wrong)
    with pytest.raises(ToolFailed, match="no date"):
        await librarian.call("recall_facts", {"about": "Acme", "at": "soon"})
