"""Who gets to see the board over HTTP, and what a session may do."""

from __future__ import annotations

from http.cookies import SimpleCookie
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.model.access import SESSION_HOURS
from atlas_mcp.model.task import TeamTask
from atlas_mcp.server.board.tries import MAX_ADDRESSES, TRIES, TRY_SECONDS, Tries
from tests.board.conftest import surface
from tests.board.keys import keys

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    import httpx2

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.access import Scope

    Opened = AbstractAsyncContextManager[tuple[Atlas, httpx2.AsyncClient]]

pytestmark = pytest.mark.anyio

VERSION, PREFIX = "2026-07-28", "io.modelcontextprotocol/"


async def sign_in(http: httpx2.AsyncClient, key: str, **headers: str) -> httpx2.Response:
    return await http.post("/board/login", data={"key": key}, headers=headers)


async def ask(http: httpx2.AsyncClient, tool: str = "list_runs", **headers: str) -> httpx2.Response:
    about = {f"{PREFIX}protocolVersion": VERSION, f"{PREFIX}clientInfo": {"name": "t", "version": "1"}}
    params = {"name": tool, "arguments": {}, "_meta": about | {f"{PREFIX}clientCapabilities": {}}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    said = {
        "Accept": "application/json, text/event-stream",
        "MCP-Protocol-Version": VERSION,
        "Mcp-Method": "tools/call",
    }
    return await http.post("/board/mcp", json=body, headers={**said, "Mcp-Name": tool, **headers})


async def test_a_right_key_is_given_for_a_cookie_that_scripts_and_other_sites_cannot_use(opened: Opened) -> None:
    async with opened as (atlas, http):
        assert "Sign in" in (await http.get("/board")).text
        assert (await ask(http)).status_code == 401
        answer = await sign_in(http, atlas.access.home_key())
        assert answer.status_code == 303
        assert answer.headers["location"] == "/board"
        assert atlas.access.home_key() not in str(answer.headers)
        cookie = SimpleCookie(answer.headers["set-cookie"])["atlas_board"]
        assert (cookie["httponly"], cookie["samesite"].lower(), cookie["path"]) == (True, "strict", "/board")
        assert int(cookie["max-age"]) == SESSION_HOURS * 3600
        assert len(cookie.value) >= 43
        assert 'role="status"' in (await http.get("/board")).text
        assert '"runs":[]' in (await ask(http)).text.replace(" ", "").replace("\\n", "").replace("\\", "")


async def test_every_page_says_that_nothing_foreign_may_run_or_frame_it(opened: Opened) -> None:
    async with opened as (atlas, http):
        for signed_in in (False, True):
            headers = (await http.get("/board")).headers
            policy = headers["content-security-policy"]
            assert policy.startswith("default-src 'none'")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert (headers["x-content-type-options"], headers["cache-control"]) == ("nosniff", "no-store")
            assert headers["referrer-policy"] == "same-origin"
            if not signed_in:
                await sign_in(http, atlas.access.home_key())


async def test_a_wrong_key_is_told_so_and_too_many_have_to_wait(opened: Opened) -> None:
    async with opened as (atlas, http):
        for wrong in ("", "wrong", "k" * 100_000, *["x"] * (TRIES - 3)):
            assert (await sign_in(http, wrong)).status_code == 401
        late = await sign_in(http, atlas.access.home_key())
        assert late.status_code == 429
        assert 0 < int(late.headers["retry-after"]) <= TRY_SECONDS
        assert "set-cookie" not in late.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example"}, 421),
    ],
)
async def test_other_sites_cannot_sign_anybody_in_or_out_nor_ask_with_their_session(
    opened: Opened, headers: dict[str, str], status: int
) -> None:
    async with opened as (atlas, http):
        assert (await sign_in(http, atlas.access.home_key(), **headers)).status_code == status
        await sign_in(http, atlas.access.home_key())
        assert (await ask(http, **headers)).status_code == status
        assert (await http.post("/board/logout", headers=headers)).status_code == status
        assert (await ask(http)).status_code == 200


async def test_a_session_makes_the_boards_calls_and_no_others(opened: Opened) -> None:
    async with opened as (atlas, http):
        await sign_in(http, atlas.access.home_key())
        for tool in ("forget", "run_team_task", "update_agent_memory", "list_runs "):
            assert (await ask(http, tool)).status_code == 403
        # What the headers promise is what the body must say: the SDK compares them.
        assert (await ask(http, "forget", **{"Mcp-Name": "list_runs"})).status_code == 400
        assert (await ask(http, **{"Mcp-Method": "resources/read"})).status_code == 403
        assert (await ask(http, **{"MCP-Protocol-Version": "2025-11-25"})).status_code == 403
        assert (await http.get("/board/mcp")).status_code == 405


async def test_the_session_ends_when_its_holder_signs_out(opened: Opened) -> None:
    async with opened as (atlas, http):
        await sign_in(http, atlas.access.home_key())
        kept = dict(http.cookies)
        assert (await http.post("/board/logout")).status_code == 204
        http.cookies.clear()
        http.cookies.update(kept)
        assert (await ask(http)).status_code == 401
        assert "Sign in" in (await http.get("/board")).text


async def test_a_session_holds_at_every_server_of_the_home(
    opened: Opened, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened as (atlas, http), surface(home, monkeypatch) as (_, other):
        await sign_in(http, atlas.access.home_key())
        other.cookies.update(http.cookies)
        assert (await ask(other)).status_code == 200
        assert (await other.post("/board/logout")).status_code == 204
        assert (await ask(http)).status_code == 401


async def test_a_session_sees_what_its_key_may_see_and_ends_with_it(opened: Opened) -> None:
    async with opened as (_, http):
        await sign_in(http, await key("looker", "read"))
        assert (await ask(http)).status_code == 200
        assert "needs the scope 'chat'" in (await ask(http, "cancel_run")).text
        await keys("revoke", "looker")
        with anyio.fail_after(60):  # a key that is revoked elsewhere is known for a moment longer
            while True:
                if (await ask(http)).status_code == 401:
                    break
                await anyio.sleep(0.2)


async def test_a_key_that_may_not_read_does_not_open_the_board(opened: Opened) -> None:
    async with opened as (_, http):
        refused = await sign_in(http, await key("talker", "chat"))
        assert refused.status_code == 403
        assert "lacks the scope read" in refused.text
        assert "set-cookie" not in refused.headers


async def test_a_key_of_another_sees_none_of_the_runs(opened: Opened) -> None:
    async with opened as (atlas, http):
        run = await atlas.run_team_task(atlas.access.key_caller(), TeamTask(goal="SECRET-GOAL"), wait_seconds=0)
        await sign_in(http, await key("other", "read", "chat"))
        assert "SECRET-GOAL" not in (await ask(http)).text
        await atlas.cancel_run(atlas.access.key_caller(), run.run_id)


async def key(name: str, *scopes: Scope) -> str:
    return await keys("create", name, "--scope", ",".join(scopes))


# -- tries, with a clock of their own


def test_wrong_keys_are_counted_by_address_and_forgotten() -> None:
    clock = [0.0]
    tries = Tries(now=lambda: clock[0])
    for _ in range(TRIES):
        assert tries.wait("a") == 0
        tries.count("a")
    assert tries.wait("a") == TRY_SECONDS
    assert tries.wait("b") == 0
    clock[0] = TRY_SECONDS
    assert tries.wait("a") == 0
    for n in range(MAX_ADDRESSES):
        tries.count(f"address {n}")
    assert len(tries._wrong) == MAX_ADDRESSES
