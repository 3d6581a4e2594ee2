"""Firecrawl, against a loopback server that answers as docs.firecrawl.dev/api-reference says of version 2."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from pydantic import SecretStr

from atlas_mcp.errors import LimitReached, ToolFailed
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.reach.connectors import public
from atlas_mcp.reach.connectors.firecrawl import Firecrawl, open_door
from tests.connectors.loopback import Call, Loopback, Reply, Told, loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
KEY = "fc-1234567890"
PAGE = "https://shop.example/list"


@pytest.fixture(autouse=True)
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What hosts' names mean."""
    known = {"shop.example": "93.184.215.14", "rebound.example": "169.254.169.254"}

    async def resolve(host: str, port: int) -> list[str]:
        if host not in known:
            raise OSError("no such name")
        return [known[host]]

    monkeypatch.setattr(public, "resolve", resolve)
    return known


def firecrawl_says(call: Call) -> Reply:
    """What Firecrawl answers, as it documents it; it refuses what it does not document."""
    if call.headers.get("authorization") != f"Bearer {KEY}":
        return Reply({"success": False, "error": "Unauthorized: Invalid token"}, 401)
    match call.method, call.path:
        case "POST", "/v2/scrape":
            return _scrape(call.body)
        case "POST", "/v2/search":
            return _search(call.body)
        case _:
            return Reply({"success": False, "error": "Not Found"}, 404)


def _scrape(body: dict[str, Any]) -> Reply:
    parsers = [{"type": "pdf", "maxPages": 20}]
    sound = set(body) == {"url", "formats", "onlyMainContent", "timeout", "parsers"} and body["parsers"] == parsers
    if not sound or body["formats"] != ["markdown"] or not 1000 <= body["timeout"] <= 300_000:
        return Reply({"success": False, "error": "Bad Request", "details": []}, 400)
    about: dict[str, Any] = {"title": "The list", "sourceURL": body["url"], "url": body["url"], "statusCode": 200}
    text = "# The list\n\nApples and pears."
    if body["url"].endswith(".pdf"):
        about |= {"numPages": 3, "totalPages": 3, "contentType": "application/pdf"}
    if body["url"].endswith("/moved"):
        about["url"] = PAGE
    if body["url"].endswith("/gone"):
        about |= {"statusCode": 404, "error": "Not Found"}
    if body["url"].endswith("/empty"):
        text = ""
    return Reply({"success": True, "data": {"markdown": text, "metadata": about}})


def _search(body: dict[str, Any]) -> Reply:
    if set(body) != {"query", "limit"} or not 1 <= body["limit"] <= 100 or len(body["query"]) > 500:
        return Reply({"success": False, "error": "Bad Request"}, 400)
    web = [{"title": "The list", "description": "Apples.", "url": PAGE}] if "nothing" not in body["query"] else []
    return Reply({"success": True, "data": {"web": web}, "creditsUsed": 2})


@asynccontextmanager
async def firecrawl(
    key: str | None = KEY, caller: str = "local:me", **settings: Any
) -> AsyncIterator[tuple[Firecrawl, Loopback, Told]]:
    async with loopback() as server:
        server.answers(firecrawl_says)
        keys = {"FIRECRAWL_API_KEY": SecretStr(key)} if key else {}
        made = Reaching.model_validate({**keys, "firecrawl_base_url": server.url, **settings})
        told = Told(caller=caller)
        async with open_door(made, cast("Any", None), Path()) as door:
            yield cast("Firecrawl", door(told.context)), server, told


async def test_a_page_is_read_cited_by_its_address_and_asked_for_once():
    async with firecrawl() as (it, server, told):
        assert "Apples and pears." in await it.read_page(PAGE)
        assert (await it.read_page(PAGE, 12)).endswith("Apples and pears.")
        assert len(server.calls) == 1
        assert told.found == [(PAGE, "# The list\n\nApples and pears.", "The list")]


async def test_a_page_that_moved_is_cited_by_either_address():
    async with firecrawl() as (it, _, told):
        assert (await it.read_page("https://shop.example/moved")).startswith(f"[{PAGE}: characters 0 to ")
        assert told.names == [PAGE, "https://shop.example/moved"]


async def test_nothing_is_entered_unless_the_settings_say_what_a_credit_costs():
    async with firecrawl() as (it, _, told):
        await it.read_page(PAGE)
        await it.search("apples")
        assert told.spent == []
    async with firecrawl(firecrawl_credit_usd=0.001) as (it, _, told):
        await it.read_page(PAGE)
        await it.read_page("https://shop.example/a.pdf")
        await it.search("apples")
        assert told.spent == [
            ("firecrawl", 0.001),
            ("firecrawl", 0.001),
            ("firecrawl", 0.003),
            ("firecrawl", 0.002),
        ], "a page, a PDF and its three pages, a search"


async def test_pages_are_found():
    async with firecrawl() as (it, _, told):
        assert await it.search("apples", 50) == [{"title": "The list", "address": PAGE, "text": "Apples."}]
        assert told.found == [(PAGE, "Apples.", "The list")]
        assert await it.search("nothing of that") == []


@pytest.mark.parametrize(
    ("address", "told_of"),
    [
        ("https://shop.example/gone", "answered with status 404"),
        ("https://shop.example/empty", "found no text"),
        ("file:///etc/passwd", "does not begin with http"),
        ("http://localhost:6379/", "another protocol|a name of a private network"),
        ("http://0x7f.1/", "127.0.0.1 is loopback"),
        ("http://rebound.example/", "rebound.example is link-local"),
        ("http://unknown.example/", "unknown.example is not known here"),
    ],
)
async def test_a_page_that_is_none_is_an_error(address: str, told_of: str):
    async with firecrawl() as (it, _, told):
        with pytest.raises(ToolFailed, match=told_of):
            await it.read_page(address)
        assert told.found == []


async def test_a_wrong_key_names_the_setting():
    async with firecrawl("fc-wrong") as (it, _, _):
        with pytest.raises(ToolFailed) as raised:
            await it.read_page(PAGE)
    assert "Unauthorized: Invalid token. Check FIRECRAWL_API_KEY." in str(raised.value)


@pytest.mark.parametrize(
    ("reply", "told_of"),
    [
        (Reply({"success": False, "error": "Payment Required: Insufficient credits"}, 402), "raise its plan"),
        (Reply({"success": False, "error": "We do not support this site"}, 403), "use another source"),
        (Reply({"success": False, "error": "Request Timeout"}, 408), "took too long"),
        (Reply({"success": False, "code": "UNKNOWN_ERROR", "error": "Oh."}, 500), "status 500: Oh"),
        (Reply({"success": True}), "found no text"),
    ],
)
async def test_what_goes_wrong_says_what_to_do_and_is_not_paid_for_twice(reply: Reply, told_of: str):
    async with firecrawl() as (it, server, _):
        server.now = [reply]
        with pytest.raises(ToolFailed, match=told_of):
            await it.read_page(PAGE)
        assert len(server.calls) == 1


async def test_a_rate_limit_is_told_with_its_end():
    async with firecrawl(firecrawl_credit_usd=0.001) as (it, server, told):
        server.now = [Reply({"success": False, "error": "Rate limit exceeded"}, 429, {"retry-after": "42"})]
        with pytest.raises(LimitReached) as raised:
            await it.read_page(PAGE)
        assert 38 < raised.value.retry_after <= 42
        with pytest.raises(LimitReached):
            await it.read_page(PAGE)
        assert len(told.spent) == 1, "a call that was not sent was paid for"


async def test_a_firecrawl_of_ones_own_is_asked_without_a_key():
    async with firecrawl(None) as (it, server, _):
        server.answers(lambda call: Reply({"success": True, "data": {"markdown": str(sorted(call.headers))}}))
        assert "authorization" not in await it.read_page(PAGE)


async def test_a_private_host_that_the_user_allowed_is_read():
    async with firecrawl(web_allow=("10.0.0.7",)) as (it, _, _):
        assert "Apples" in await it.read_page("http://10.0.0.7/list")


async def test_a_private_host_that_is_allowed_is_not_read_for_who_does_not_own_the_home():
    async with firecrawl(web_allow=("10.0.0.7",), caller="key:bob") as (it, server, _):
        with pytest.raises(ToolFailed, match=r"10\.0\.0\.7 is private"):
            await it.read_page("http://10.0.0.7/list")
        assert not server.calls
