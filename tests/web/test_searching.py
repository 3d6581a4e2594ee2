"""The web is searched by a SearXNG, or by Tavily where there is a key; what goes wrong there says what to mend."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from atlas_mcp.constellation.tool_source import read_tool
from atlas_mcp.errors import AtlasError, ConfigurationError, ToolFailed
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.context import CallContext
from atlas_mcp.reach.web.searching import MOST_HITS, Search, open_search
from atlas_mcp.settings import load_settings
from atlas_mcp.store.record import Record
from tests.web.site import Asked, Reply, Site

pytestmark = pytest.mark.anyio
TOOL = Path(__file__).parents[2] / "tools" / "search_web.py"


def results(count: int, **more: Any) -> Reply:
    """An answer as SearXNG's documentation has it."""
    found = [
        {
            "url": f"https://example.org/{n}",
            "title": f"Lamps\n{n}",
            "content": f"The lamp {n} was lit. " * 90,
            "publishedDate": "2024-03-05T00:00:00" if n == 0 else None,
            "engine": "duckduckgo",
            "parsed_url": ["https", "example.org", f"/{n}", "", "", ""],
            "score": 1.0 / (n + 1),
            "category": "general",
        }
        for n in range(count)
    ]
    told = {"query": "lamps", "number_of_results": 0, "results": found, "answers": [], "corrections": []}
    return json_reply({**told, "infoboxes": [], "suggestions": [], "unresponsive_engines": [], **more})


def json_reply(told: object, status: int = 200) -> Reply:
    return Reply(status, body=json.dumps(told).encode(), type="application/json")


def context(spent: list[tuple[str, float]] | None = None) -> CallContext:
    async def found(name: str, text: str, *, title: str = "") -> None:
        raise AssertionError("a snippet is no source")

    async def note(service: str, usd: float) -> None:
        assert spent is not None, "SearXNG costs nothing"
        spent.append((service, usd))

    return CallContext(Caller(id="key:searcher"), "web_researcher", None, found, note)


@asynccontextmanager
async def searching(record: Record, home: Path, **settings: Any) -> AsyncGenerator[Search]:
    async with open_search(load_settings(home=home, **settings), record, home) as search:
        yield search


@pytest.fixture
async def search(site: Site, record: Record, home: Path) -> AsyncGenerator[Search]:
    async with searching(record, home, web_search_url=f"{site.here}/sx/") as opened:
        yield opened


async def test_what_is_found_is_told_in_few_words_and_bounded(search: Search, site: Site) -> None:
    asked: list[Asked] = []

    def answer(request: Asked) -> Reply:
        asked.append(request)
        return results(30)

    site.on("/sx/search?q=lamps%20of%20the%20coast%20%26%20more&format=json", answer)
    hits = await search(context()).search("lamps of  the\ncoast & more", 4)
    assert [hit.address for hit in hits] == [f"https://example.org/{n}" for n in range(4)]
    assert (hits[0].title, hits[0].date, hits[1].date) == ("Lamps 0", "2024-03-05T00:00:00", "")
    assert len(hits[0].snippet) == 600
    assert parse_qs(urlsplit(asked[0].path).query) == {"q": ["lamps of the coast & more"], "format": ["json"]}
    assert len(await search(context()).search("lamps of the coast & more", 500)) == MOST_HITS


async def test_the_tool_gives_json_of_bounded_length(search: Search, site: Site) -> None:
    names: dict[str, Any] = {}
    exec(read_tool(TOOL).source, names)
    site.on("/sx/search?q=lamps&format=json", results(30))
    site.on("/sx/search?q=nothing&format=json", results(0))
    door = search(context())
    said = json.loads(await names["search_web"](door, "lamps", 20))
    assert len(said["hits"]) == 20
    assert said["hits"][0].keys() == {"title", "address", "snippet", "date"}
    assert json.loads(await names["search_web"](door, "nothing")) == {"hits": []}


@pytest.mark.parametrize(
    ("reply", "why", "step"),
    [
        (Reply(403, body=b"<h1>Forbidden</h1>"), "403", "formats: [html, json]"),
        (Reply(404), "404", "without /search"),
        (Reply(200, body=b"<html>a page"), "something else than an object of JSON", "ATLAS_WEB_SEARCH_URL"),
        (
            results(0, unresponsive_engines=[["google", "CAPTCHA"], ["brave", "too many requests"]]),
            "its engines did not answer: google CAPTCHA; brave too many requests",
            "Try again in some minutes",
        ),
        (Reply(429, {"Retry-After": "120"}), "", "120 seconds"),
        (Reply(302, {"Location": "http://169.254.169.254/"}), "redirect that is not followed", "ATLAS_WEB_SEARCH_URL"),
    ],
)
async def test_what_goes_wrong_at_the_engine_says_what_to_mend(
    search: Search, site: Site, reply: Reply, why: str, step: str
) -> None:
    site.on("/sx/search?q=trouble&format=json", reply)
    with pytest.raises(AtlasError) as told:
        await search(context()).search("trouble")
    assert why in str(told.value)
    assert step in str(told.value)


async def test_a_strange_answer_costs_its_strange_parts(search: Search, site: Site) -> None:
    odd: list[object] = [
        None,
        "text",
        {"title": "no address"},
        {"url": "javascript:alert(1)", "title": "x"},
        {"url": "https://example.org/" + "x" * 2_000},
        {"url": "https://example.org/once", "title": 7, "content": None},
        {"url": "https://example.org/once", "title": "Again"},
    ]
    site.on("/sx/search?q=odd&format=json", json_reply({"results": odd}))
    hits = await search(context()).search("odd", 20)
    assert [(hit.address, hit.title) for hit in hits] == [("https://example.org/once", "")]
    site.on("/sx/search?q=none&format=json", json_reply({"results": "none"}))
    assert await search(context()).search("none") == []


@pytest.mark.parametrize(("query", "why"), [(" \n", "it has no words"), ("x" * 401, "400 are the most")])
async def test_a_query_that_cannot_be_asked_is_refused(search: Search, query: str, why: str) -> None:
    with pytest.raises(ToolFailed, match=why):
        await search(context()).search(query)


async def test_a_name_and_password_in_the_address_are_used_and_never_shown(
    site: Site, record: Record, home: Path
) -> None:
    site.on("/search?q=closed&format=json", lambda asked: Reply(401) if asked.headers else Reply())
    address = f"http://me:s3cret%21@127.0.0.1:{site.port}"
    async with searching(record, home, web_search_url=address) as search:
        with pytest.raises(ToolFailed) as told:
            await search(context()).search("closed")
        room = search.room("search")
    sent = [a.headers["authorization"] for a in site.asked if a.path.startswith("/search?q=closed")]
    assert set(sent) == {"Basic " + base64.b64encode(b"me:s3cret!").decode()}
    assert room.health == "warning"
    assert "s3cret" not in f"{told.value} {room} {search!r}"


@pytest.mark.parametrize("address", ["searx.local", "ftp://searx.local", "http://"])
async def test_what_is_no_address_of_a_searxng_is_told_when_the_rooms_open(
    record: Record, home: Path, address: str
) -> None:
    with pytest.raises(ConfigurationError, match="ATLAS_WEB_SEARCH_URL"):
        async with searching(record, home, web_search_url=address):
            pass


@pytest.mark.parametrize("entry", ["http://wiki.local", "wiki.local/page", "*.local", "two hosts"])
def test_what_is_no_host_to_be_allowed_is_told_at_the_start(home: Path, entry: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ATLAS_WEB_ALLOW: .* is no host"):
        load_settings(home=home, web_allow=f"127.0.0.1:8080, {entry}")


async def test_tavily_is_asked_where_its_key_is_set(site: Site, record: Record, home: Path) -> None:
    found = {"title": "Lamps", "url": "https://example.org/t", "content": "Lit.", "published_date": "2024-03-05"}
    site.on("/search", json_reply({"query": "lamps", "results": [found]}))
    spent: list[tuple[str, float]] = []
    given = {"tavily_api_key": "tvly-test", "tavily_base_url": site.here, "web_search_url": f"{site.here}/sx"}
    async with searching(record, home, **given) as search:
        [hit] = await search(context(spent)).search("lamps")
    assert (hit.address, hit.snippet, hit.date) == ("https://example.org/t", "Lit.", "2024-03-05")
    assert spent == [("tavily", 0.008)]
