"""Agents and their memory as resources: read by their caller alone, and heard of when they change, in each era."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp import MCPError
from mcp.client import Client
from mcp.server.subscriptions import ResourceUpdated
from mcp.types import TextResourceContents

from atlas_mcp.server import create_server
from tests.server.doors import ERAS, LEGACY, MODERN, call, http_server, over_http, over_stdio
from tests.server.test_resources import NOT_FOUND, Heard, older, subscribe

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_mcp.atlas import Atlas

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore:resources/(un)?subscribe is removed:mcp.MCPDeprecationWarning"),
]

AGENTS, AGENT = "atlas://agents", "atlas://agents/librarian"
HUMAN = "atlas://agents/librarian/memory/human"
OTHERS = "atlas://agents/web_researcher/memory/human"
EDITOR = {"name": "night_editor", "description": "Edits at night.", "persona": "I edit at night."}


async def read(client: Client, address: str) -> dict[str, Any]:
    [content] = (await client.read_resource(address)).contents
    assert isinstance(content, TextResourceContents)
    assert content.mime_type == "application/json"
    return json.loads(content.text)


def uri_of(event: Any) -> str:
    assert isinstance(event, ResourceUpdated)
    return str(event.uri)


class Ear:
    """A client that listens to addresses, in either era, and what it has heard."""

    def __init__(self, wait: Any, heard: list[str]) -> None:
        self._wait = wait
        self._heard = heard

    async def until(self, address: str) -> set[str]:
        """Wait until there was news of that address; of which there was since the last time."""
        await self._wait(address)
        heard = {*self._heard}
        self._heard.clear()
        return heard


@asynccontextmanager
async def listening(server: Any, era: str, *addresses: str) -> AsyncIterator[Ear]:
    if era == LEGACY:
        heard = Heard()
        async with Client(server, mode=ERAS[era], message_handler=heard) as client:
            for address in addresses:
                await subscribe(client, address)
            yield Ear(heard.until, heard.addresses)
        return
    async with Client(server, mode=ERAS[era]) as client, client.listen(resource_subscriptions=[*addresses]) as stream:
        told: list[str] = []

        async def until(address: str) -> None:
            with anyio.fail_after(60):
                while address not in told:
                    told.append(uri_of(await anext(stream)))

        yield Ear(until, told)


async def test_agents_and_their_memory_are_read_as_json(client_of_each_era: Client) -> None:
    client = client_of_each_era
    assert await read(client, AGENTS) == await call(client, "list_agents")
    of_team = await read(client, f"{AGENTS}?team=research")
    assert {agent["team"] for agent in of_team["agents"]} == {"research"}
    agent = await read(client, AGENT)
    assert agent["name"] == "librarian"
    assert HUMAN in agent["memory"]
    await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada, who likes short answers.")
    for address in agent["memory"]:
        label = address.rpartition("/")[2]
        [block] = (await call(client, "get_agent_memory", agent="librarian", label=label))["blocks"]
        assert await read(client, address) == {name: value for name, value in block.items() if name != "history"}


async def test_what_can_be_many_is_found_by_templates_and_not_listed(client_of_each_era: Client) -> None:
    listed = (await client_of_each_era.list_resources()).resources
    assert [str(one.uri) for one in listed if str(one.uri).startswith("atlas:")] == [AGENTS]
    templates = (await client_of_each_era.list_resource_templates()).resource_templates
    assert [one.uri_template for one in templates] == [
        *("atlas://agents{?team}", "atlas://agents/{agent}", "atlas://agents/{agent}/memory/{label}"),
        *("atlas://runs/{run_id}", "atlas://runs/{run_id}/result", "atlas://runs/{run_id}/files/{name}"),
        *("atlas://graph{?limit}", "atlas://graph/{entity}"),
    ]
    assert all(one.title and one.description and one.mime_type for one in (*listed, *templates))


@pytest.mark.parametrize(
    "address",
    [
        "atlas://agents?team=gardening",
        "atlas://agents/nobody",
        "atlas://agents/librarian/memory",
        "atlas://agents/librarian/memory/nothing",
        "atlas://agents/nobody/memory/human",
        "atlas://agents/librarian/memory/human/more",
        "atlas://agents/%2e%2e/memory/human",
        "atlas://graph?limit=many",
        "atlas://elsewhere",
    ],
)
async def test_what_does_not_exist_is_not_found_and_cannot_be_subscribed_to(atlas: Atlas, address: str) -> None:
    async with older(atlas, Heard()) as client:
        with pytest.raises(MCPError) as refused:
            await client.read_resource(address)
        assert refused.value.code == NOT_FOUND
        with pytest.raises(MCPError) as refused:
            await subscribe(client, address)
        assert refused.value.code == NOT_FOUND


async def test_what_is_anothers_does_not_exist(atlas: Atlas) -> None:
    mine, theirs = create_server(atlas, transport="stdio", toolset="all"), create_server(atlas, transport="http")
    own = "atlas://agents/night_editor/memory/human"
    async with Client(mine) as client, Client(theirs) as other:
        await call(client, "create_agent", **EDITOR)
        await call(client, "update_agent_memory", agent="librarian", label="human", value="MARKER-1 is Ada.")
        await call(client, "update_agent_memory", agent="night_editor", label="human", value="MARKER-2 is Ada.")
        assert "MARKER-2" in (await read(client, own))["value"]
        assert "night_editor" in json.dumps(await read(client, AGENTS))
        for address in ("atlas://agents/night_editor", own):
            with pytest.raises(MCPError) as refused:
                await other.read_resource(address)
            assert refused.value.code == NOT_FOUND
        seen = [await read(other, address) for address in (AGENTS, AGENT, HUMAN)]
        assert "MARKER" not in json.dumps(seen)
        assert "night_editor" not in json.dumps(seen)


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_block_is_heard_of_whoever_changes_it(atlas: Atlas, client: Client, era: str) -> None:
    server = create_server(atlas, transport="stdio")
    async with listening(server, era, HUMAN, OTHERS) as ear:
        await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada.")
        assert await ear.until(HUMAN) == {HUMAN}
        reply = await call(client, "chat_with_agent", agent="librarian", message="Please remember: I live in Oslo.")
        assert reply["memory_changes"]
        assert await ear.until(HUMAN) == {HUMAN}
        await call(client, "undo_memory", agent="librarian", label="human", revision=1)
        assert await ear.until(HUMAN) == {HUMAN}
        async with over_stdio(MODERN) as elsewhere:  # another process on the same home
            await call(elsewhere, "update_agent_memory", agent="librarian", label="human", append="And far away.")
            assert await ear.until(HUMAN) == {HUMAN}


@pytest.mark.parametrize("era", list(ERAS))
async def test_a_block_that_agents_share_is_heard_of_by_the_address_of_each(
    atlas: Atlas, client: Client, era: str
) -> None:
    other = "atlas://agents/content_writer/memory/team_notes"
    async with listening(create_server(atlas, transport="stdio"), era, other) as ear:
        await call(client, "get_agent_memory", agent="content_writer")
        await call(client, "update_agent_memory", agent="librarian", label="team_notes", append="Ship on Monday.")
        await ear.until(other)


@pytest.mark.parametrize("era", list(ERAS))
async def test_the_list_is_heard_of_when_agents_or_groups_come_and_go(atlas: Atlas, era: str) -> None:
    admin = create_server(atlas, transport="stdio", toolset="admin")
    async with Client(admin) as client, listening(admin, era, AGENTS) as ear:
        await call(client, "create_agent", **EDITOR)
        await ear.until(AGENTS)
        await call(client, "create_group", name="desk", description="Both.", agents=["night_editor", "librarian"])
        await ear.until(AGENTS)
        await call(client, "delete_group", group="desk")
        await ear.until(AGENTS)
        await call(client, "delete_agent", agent="night_editor")
        await ear.until(AGENTS)


@pytest.mark.parametrize("era", list(ERAS))
async def test_nobody_hears_of_anothers_agents_and_memory(atlas: Atlas, era: str) -> None:
    mine = create_server(atlas, transport="stdio", toolset="all")
    theirs = create_server(atlas, transport="http", toolset="all")
    async with (
        Client(mine) as client,
        Client(theirs) as other,
        listening(mine, era, HUMAN, OTHERS, AGENTS) as ear,
        listening(theirs, era, HUMAN, OTHERS, AGENTS) as others,
    ):
        await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada.")
        assert await ear.until(HUMAN) == {HUMAN}
        await call(client, "create_agent", **EDITOR)
        assert await ear.until(AGENTS) == {AGENTS}
        await call(other, "update_agent_memory", agent="web_researcher", label="human", value="Bob.")
        assert await others.until(OTHERS) == {OTHERS}  # though the changes that are not theirs were earlier
        await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada again.")
        assert await ear.until(HUMAN) == {HUMAN}


@pytest.mark.parametrize("era", list(ERAS))
async def test_nobody_waits_any_more_when_the_client_has_gone(atlas: Atlas, era: str) -> None:
    async with listening(create_server(atlas, transport="stdio"), era, HUMAN, AGENTS):
        await _until(atlas, 2)
    await _until(atlas, 0)


async def _until(atlas: Atlas, count: int) -> None:
    with anyio.fail_after(60):
        while atlas.news.waiting != count:  # noqa: ASYNC110  # nothing tells when somebody has stopped waiting
            await anyio.sleep(0.01)


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
async def test_a_block_is_heard_of_over_http(path: str) -> None:
    with http_server() as (address, key, _):
        async with (
            over_http(address, key, path, MODERN) as client,
            client.listen(resource_subscriptions=[HUMAN]) as stream,
        ):
            await call(client, "update_agent_memory", agent="librarian", label="human", value="Ada.")
            with anyio.fail_after(60):
                assert uri_of(await anext(stream)) == HUMAN


@pytest.mark.parametrize("era", list(ERAS))
async def test_resources_are_read_over_stdio(era: str) -> None:
    async with over_stdio(era) as client:
        assert HUMAN in (await read(client, AGENT))["memory"]
        with pytest.raises(MCPError) as refused:
            await client.read_resource("atlas://agents/nobody")
        assert refused.value.code == NOT_FOUND
