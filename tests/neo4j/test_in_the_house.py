"""A Neo4j as a client meets it: facts go there, `get_status` tells of it, and without it nothing is missing."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.errors import ConfigurationError
from atlas_mcp.memory.neo4j import mirror as mirrors
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.neo4j.conftest import until
from tests.server.doors import call

if TYPE_CHECKING:
    from tests.bolt import RunningBolt

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick")]

FACTS = [
    {"subject": "Ann", "relation": "works_for", "object": "Acme"},
    {"subject": "Acme", "relation": "located_in", "object": "Oslo"},
]


async def way(client: Client) -> list[str]:
    known = await call(client, "recall_facts", about="Ann", to="Oslo")
    return [one["text"] for one in known["facts"]]


async def room(atlas: Atlas) -> dict[str, Any]:
    found = await atlas.status(atlas.local_caller())
    (one,) = [room.model_dump() for room in found.rooms if room.name == "neo4j"]
    return one


async def test_facts_are_told_to_neo4j_and_walked_over_there(
    bolt: RunningBolt, graph: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ATLAS_NEO4J_URL", bolt.address(graph))
    went: list[object] = []
    walk = mirrors.Mirror.walk

    async def counted(mirror: mirrors.Mirror, way: Any) -> Any:
        found = await walk(mirror, way)
        went.append(found)
        return found

    monkeypatch.setattr(mirrors.Mirror, "walk", counted)
    async with open_atlas(load_settings()) as atlas:
        async with Client(create_server(atlas, transport="stdio", toolset="memory")) as client:
            await call(client, "relate", facts=FACTS)

            async def walks_there() -> bool:
                went.clear()
                assert await way(client) == ["Ann works for Acme", "Acme located in Oslo"], "whoever walks"
                return went[-1] is not None

            await until(walks_there)
        told = await room(atlas)
    assert (told["health"], told["text"]) == ("ok", f"bolt://127.0.0.1:{bolt.port}: a copy of the facts.")
    assert {row["name"] for row in bolt.rows(graph, "MATCH (t:AtlasThing) RETURN t.name AS name")} == {
        "Ann",
        "Acme",
        "Oslo",
    }


async def test_without_an_answer_the_record_gives_all_and_the_status_warns(monkeypatch: pytest.MonkeyPatch):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setenv("ATLAS_NEO4J_URL", f"bolt://ann:secret@127.0.0.1:{port}/facts")
    async with open_atlas(load_settings()) as atlas:
        async with Client(create_server(atlas, transport="stdio", toolset="memory")) as client:
            await call(client, "relate", facts=FACTS)
            assert await way(client) == ["Ann works for Acme", "Acme located in Oslo"]

        async def warned() -> bool:
            return "since" in (await room(atlas))["text"]

        await until(warned)
        told = await room(atlas)
    assert told["health"] == "warning"
    assert "The record answers: no fact is missing." in told["text"]
    assert "secret" not in str(told)
    assert told["next_step"].startswith("Start it, or mend ATLAS_NEO4J_URL")


async def test_an_address_of_something_else_is_told_by_the_first_call(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ATLAS_NEO4J_URL", "http://localhost:7474")
    async with open_atlas(load_settings()) as atlas:
        with pytest.raises(ConfigurationError, match="ATLAS_NEO4J_URL: it is not the address of a Neo4j"):
            await atlas.facts.overview(atlas.local_caller())
