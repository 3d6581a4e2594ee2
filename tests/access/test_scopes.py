"""Scopes: what was not granted is not listed, and is refused in words that a model can read; none implies another."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from mcp import MCPError
from mcp.types import PromptReference

from atlas_mcp.model.access import SCOPES
from atlas_mcp.server.scopes import TOOLS, tool_scope
from atlas_mcp.server.toolsets import tools_of
from tests.access.serving import House, make_key, open_house
from tests.server.doors import LEGACY, MODERN, call, refused
from tests.tasks.client import stand

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcp.client import Client

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


async def listed(client: Client) -> set[str]:
    return {tool.name for tool in (await client.list_tools()).tools}


async def test_every_tool_needs_one_scope_of_the_table(house: House) -> None:
    assert {tool.name for tool in tools_of(house.atlas, "http", "all")} == set(TOOLS)
    assert tool_scope("a_tool_that_somebody_forgot") == "admin"


@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_a_key_is_shown_and_may_call_what_its_scope_opens_and_nothing_else(house: House, era: str) -> None:
    for scope in SCOPES:
        token = await make_key(f"{scope}-{era}", {scope})
        async with house.client(token, era=era) as client:
            assert await listed(client) == {name for name, needed in TOOLS.items() if needed == scope}
            for name, needed in TOOLS.items():
                if needed != scope:
                    told = await refused(client, name)
                    assert f"{name} needs the scope '{needed}', and you were granted {scope}" in told
            if scope == "read":
                assert (await call(client, "get_status"))["caller"] == f"key:read-{era}"


async def test_a_listing_is_for_nobody_elses_client_to_keep(house: House) -> None:
    for path in ("tools/list", "resources/list", "resources/templates/list", "prompts/list"):
        answer = await asked(house, await make_key(path.replace("/", "."), {"chat"}), path)
        assert answer["result"]["cacheScope"] == "private"


async def test_who_may_not_read_is_shown_no_resources_and_no_prompts(house: House) -> None:
    async with house.client(await make_key("talker", {"chat", "write", "admin"})) as client:
        assert (await client.list_resources()).resources == []
        assert (await client.list_resource_templates()).resource_templates == []
        assert (await client.list_prompts()).prompts == []
        reference = PromptReference(type="ref/prompt", name="delegate")
        for attempt in (
            lambda: client.read_resource("atlas://agents"),
            lambda: client.get_prompt("delegate", {"goal": "x"}),
            lambda: client.complete(reference, {"name": "to", "value": ""}),
        ):
            with pytest.raises(MCPError, match="needs the scope 'read'"):
                await attempt()
        with pytest.raises(MCPError, match="needs the scope 'read'"):
            async with client.listen(resource_subscriptions=["atlas://agents"]):
                pass
    async with house.client(await make_key("reader", {"read"})) as client:
        assert (await client.list_resources()).resources
        assert (await client.list_prompts()).prompts
        assert (await client.read_resource("atlas://agents")).contents
        with pytest.raises(MCPError, match="needs the scope 'chat'"):
            await stand(client.session, "run_of_nobody")


async def test_a_method_that_nobody_thought_of_needs_the_most(house: House) -> None:
    token = await make_key("reader", {"read", "chat", "write"})
    answer = await asked(house, token, "atlas/secrets")
    assert "needs the scope 'admin'" in answer["error"]["message"]


async def test_malformed_requests_are_refused_and_not_let_through(house: House) -> None:
    token = await make_key("reader", {"read"})
    for method, params in (
        ("tools/call", {}),
        ("tools/call", {"name": ["forget"]}),
        ("tools/call", {"name": None}),
        ("subscriptions/listen", {"notifications": ["x"]}),
        ("subscriptions/listen", {"notifications": {"resourceSubscriptions": "atlas://agents"}}),
    ):
        answer = await asked(house, token, method, **params)
        assert "error" in answer or answer["result"]["isError"], (method, params, answer)


async def test_the_homes_own_key_may_do_everything(house: House) -> None:
    async with house.client(house.atlas.access.home_key()) as client:
        assert await listed(client) == set(TOOLS)


async def asked(house: House, token: str, method: str, **params: Any) -> dict[str, Any]:
    """The answer to a request of the newer era as it comes."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, "_meta": meta}}
    headers = {
        "Authorization": f"Bearer {token}",
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": MODERN,
        "Mcp-Method": method,
    }
    if isinstance(params.get("name"), str):
        headers["Mcp-Name"] = params["name"]
    async with httpx2.AsyncClient(timeout=60) as http:
        answer = await http.post(f"{house.address}/mcp", json=body, headers=headers)
    if answer.headers["content-type"].startswith("application/json"):
        return answer.json()

    [data] = [line.removeprefix("data: ") for line in answer.text.splitlines() if line.startswith("data: {")]
    return json.loads(data)
