"""Signing in at the board by way of the identity provider."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from mcp.shared.auth import OAuthClientInformationFull
from pydantic import AnyUrl

from atlas_mcp.errors import Unavailable
from tests.access.provider import open_provider
from tests.access.serving import free_socket, open_house
from tests.board.browser import needs_chromium
from tests.board.test_door import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_mcp.access.provider import Published
    from atlas_mcp.model.access import LoginRules
    from tests.access.provider import Provider
    from tests.board.browser import Browser

pytestmark = pytest.mark.anyio


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with open_provider() as opened:
        yield opened


@asynccontextmanager
async def board(provider: Provider, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[httpx2.AsyncClient]:
    """A browser without scripts on a board that the provider knows: the provider is another site than it."""
    listener = free_socket()
    address = f"http://localhost:{listener.getsockname()[1]}"
    monkeypatch.setenv("ATLAS_PUBLIC_URL", address)
    monkeypatch.setenv("ATLAS_OAUTH_ISSUER", provider.issuer)
    monkeypatch.setenv("ATLAS_OAUTH_CLIENT_ID", "the-board")
    known = OAuthClientInformationFull(
        client_id="the-board",
        redirect_uris=[AnyUrl(f"{address}/board/signed-in")],
        token_endpoint_auth_method="none",
        scope="read chat",
    )
    await provider.logins.register_client(known)
    async with open_house(listener=listener), httpx2.AsyncClient(base_url=address, timeout=60) as http:
        yield http


async def away(http: httpx2.AsyncClient) -> str:
    """Where the provider sends back who goes there by the board's own link."""
    there = await http.get("/board/sign-in")
    assert there.status_code == 302, there.text
    return (await http.get(there.headers["location"])).headers["location"]


async def test_who_signs_in_at_the_provider_sees_their_runs_for_as_long_as_its_token_counts(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(provider, monkeypatch) as http:
        page = (await http.get("/board")).text
        assert f'href="{http.base_url}/board/sign-in"' in page
        there = urlsplit((await http.get("/board/sign-in")).headers["location"])
        asked = {name: values[0] for name, values in parse_qs(there.query).items()}
        assert there.geturl().startswith(f"{provider.issuer}/authorize?")
        assert (asked["client_id"], asked["scope"], asked["code_challenge_method"]) == (
            "the-board",
            "read chat",
            "S256",
        )
        back = await http.get(await away(http))
        assert back.status_code == 200, back.text
        assert 'content="0; url=/board"' in back.text
        assert "atlas_board_away" not in http.cookies
        assert (await ask(http)).status_code == 200
        assert provider.logins.resources == [f"{http.base_url}/mcp"]


async def test_what_was_not_begun_in_this_browser_signs_nobody_in(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(provider, monkeypatch) as http:
        theirs = await away(http)
        http.cookies.clear()  # somebody else's way back, in another browser
        assert "not begun in this browser" in (await http.get(theirs)).text
        await away(http)
        assert (await http.get(theirs)).status_code == 401
        mine = await away(http)
        assert "no token" in (await http.get(mine.replace("code=", "code=other"))).text
        assert (await http.get(mine)).status_code == 401, "the secret was given up with the first answer"
        await away(http)
        made_up = await http.get("/board/signed-in?error=access_denied&state=x")
        assert (made_up.status_code, "access_denied" in made_up.text) == (401, False)
        assert (await http.get(await away(http))).status_code == 429, "who is wrong too often has to wait"
        assert "atlas_board" not in http.cookies


async def test_who_declines_at_the_provider_or_brings_no_token_for_us_is_told_so(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(provider, monkeypatch) as http:
        state = parse_qs(urlsplit(await away(http)).query)["state"][0]
        declined = await http.get("/board/signed-in", params={"error": "<b>access_denied", "state": state})
        assert "did not let you in: &lt;b&gt;access_denied." in declined.text
        token = provider.token
        monkeypatch.setattr(provider, "token", lambda **_: "opaque")
        assert "no JWT that is made for" in (await http.get(await away(http))).text
        monkeypatch.setattr(provider, "token", lambda **claims: token(**claims | {"scope": "chat"}))
        refused = await http.get(await away(http))
        assert (refused.status_code, "lacks the scope read" in refused.text) == (403, True)
        assert "atlas_board" not in http.cookies


async def test_while_the_provider_cannot_be_asked_the_board_says_so_and_takes_keys(
    provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(provider, monkeypatch) as http:
        monkeypatch.setattr("atlas_mcp.access.logins.published", unreachable)
        there = await http.get("/board/sign-in")
        assert (there.status_code, "Nobody can sign in this way just now" in there.text) == (503, True)
        assert 'name="key"' in there.text


async def unreachable(_: LoginRules) -> Published:
    raise Unavailable("it could not be reached.")


@needs_chromium
async def test_a_browser_finds_its_way_there_and_back(
    provider: Provider, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with board(provider, monkeypatch) as http, browser.page() as (page, seen):
        await page.goto(f"{http.base_url}/board")
        await page.get_by_role("link", name="Sign in at").click()
        await page.get_by_role("heading", name="Runs", exact=True).wait_for()
        assert seen.errors == []
        assert urlsplit(page.url).path == "/board"
