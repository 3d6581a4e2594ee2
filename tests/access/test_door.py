"""The door over HTTP: whose a session is, by which names one comes, and what is said while nobody knows who asks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import httpx2
import pytest
from mcp import MCPError
from mcp.server.context import ServerRequestContext
from mcp.types import EmptyResult

from atlas_mcp.access.keys import Keys
from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.server.guarding import AGAIN_SECONDS, through_the_door
from tests.access.serving import House, make_key, open_house, revoke
from tests.server.doors import LEGACY, MODERN, call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio


@pytest.fixture
async def house() -> AsyncIterator[House]:
    async with open_house() as opened:
        yield opened


HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {"protocolVersion": LEGACY, "capabilities": {}, "clientInfo": {"name": "raw", "version": "1"}},
}


def headers(token: str, **more: str) -> dict[str, str]:
    accepted = {"Accept": "application/json, text/event-stream"}
    return {"Authorization": f"Bearer {token}", **accepted, **{name.replace("_", "-"): v for name, v in more.items()}}


async def test_a_session_is_of_the_key_that_began_it(house: House) -> None:
    ada, bob = await make_key("ada"), await make_key("bob")
    list_tools = {"jsonrpc": "2.0", "id": 2, "method": "tools/list"}
    async with httpx2.AsyncClient(base_url=house.address, timeout=60) as http:
        begun = await http.post("/mcp", json=HELLO, headers=headers(ada))
        session = begun.headers["mcp-session-id"]
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await http.post("/mcp", json=ready, headers=headers(ada, mcp_session_id=session))
        own = await http.post("/mcp", json=list_tools, headers=headers(ada, mcp_session_id=session))
        assert own.status_code == 200
        assert "list_agents" in own.text
        for verb in ("POST", "DELETE"):
            body = list_tools if verb == "POST" else None
            strange = await http.request(verb, "/mcp", json=body, headers=headers(bob, mcp_session_id=session))
            assert strange.status_code == 404, "it does not exist for another"
        again = await http.post("/mcp", json=list_tools, headers=headers(ada, mcp_session_id=session))
        assert again.status_code == 200


@pytest.mark.parametrize("path", ["/mcp", "/sse"])
@pytest.mark.parametrize("era", [MODERN, LEGACY])
async def test_each_key_has_a_constellation_of_its_own_by_every_way_in(house: House, path: str, era: str) -> None:
    ada, bob = await make_key("ada"), await make_key("bob")
    of_ada = await make_key("ada-2", speaks_for="ada")
    async with (
        house.client(ada, era=era, path=path) as one,
        house.client(bob, era=era, path=path) as other,
        house.client(of_ada, era=era, path=path) as again,
    ):
        await call(one, "update_agent_memory", agent="librarian", label="human", value="Ada.")
        asked = {"agent": "librarian", "label": "human"}
        [mine], [theirs] = [(await call(c, "get_agent_memory", **asked))["blocks"] for c in (again, other)]
        assert (mine["value"], theirs["value"]) == ("Ada.", "")


async def test_a_stream_ends_when_its_key_is_revoked(house: House) -> None:
    token = await make_key("ada")
    ended = anyio.Event()

    async def listen() -> None:
        try:
            async with (
                house.client(token) as client,
                client.listen(resource_subscriptions=["atlas://agents"]) as stream,
            ):
                listening.set()
                async for _ in stream:
                    pass
        except* Exception:  # noqa: BLE001 - however the client's library tells that the stream has ended
            pass
        ended.set()

    listening = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(listen)
        await listening.wait()
        await revoke("ada")
        with anyio.fail_after(60):
            await ended.wait()
    assert AGAIN_SECONDS <= 5, "what the documentation promises in seconds"


async def test_while_the_record_cannot_be_read_nobody_is_told_that_their_key_is_wrong(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = await make_key("ada")

    async def gone(self: Keys, key_id: str) -> None:
        raise StoreUnavailable("the database at /secret/place is gone.")

    async with httpx2.AsyncClient(base_url=house.address, timeout=60) as http:
        with monkeypatch.context() as patch:
            patch.setattr(Keys, "find", gone)
            answer = await http.post("/mcp", json=HELLO, headers=headers(token))
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) > 0
            assert "secret" not in answer.text
            assert (await http.post("/mcp", json=HELLO, headers=headers("wrong"))).status_code == 401
            home = headers(house.atlas.access.home_key())
            assert (await http.post("/mcp", json=HELLO, headers=home)).status_code == 200
        assert (await http.post("/mcp", json=HELLO, headers=headers(token))).status_code == 200


async def test_the_public_address_is_a_name_to_come_by_and_without_a_provider_no_login_is_told_of(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ATLAS_PUBLIC_URL", "https://atlas.example.com")
    async with open_house() as house, httpx2.AsyncClient(base_url=house.address, timeout=60) as http:
        token = await make_key("ada")
        for host, status in (("atlas.example.com", 200), ("evil.example.com", 421)):
            answer = await http.post("/mcp", json=HELLO, headers=headers(token, host=host))
            assert answer.status_code == status
        refused = await http.post("/mcp", json=HELLO)
        assert refused.status_code == 401
        assert "resource_metadata" not in refused.headers["www-authenticate"]
        assert (await http.get("/.well-known/oauth-protected-resource/mcp")).status_code == 404


async def test_a_message_without_the_request_it_came_by_goes_no_further() -> None:
    async def on(_: Any) -> EmptyResult:
        raise AssertionError("it went on")

    nobody: Any = None
    ctx: Any = ServerRequestContext(session=nobody, lifespan_context={}, protocol_version=MODERN, method="tools/list")
    with pytest.raises(MCPError):
        await through_the_door(ctx, on)
