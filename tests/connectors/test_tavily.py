"""Tavily, against a loopback server that answers as docs.tavily.com/documentation/api-reference says."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import SecretStr

from atlas_mcp.errors import BudgetSpent, LimitReached, ToolFailed
from atlas_mcp.model.reaching import Reaching
from atlas_mcp.reach.connectors.tavily import Hit, Pages, Tavily, open_tavily
from tests.connectors.loopback import Call, Loopback, Reply, Told, loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.anyio
KEY = "tvly-dev-1234567890"
PAGES = {
    "https://a.example/one": "# One\n\nThe first page.",
    "https://a.example/two": "# Two\n\nThe second page.",
}


def tavily_says(call: Call) -> Reply:
    """What Tavily answers, as it documents it; it refuses what it does not document."""
    if call.headers.get("authorization") != f"Bearer {KEY}":
        return Reply({"detail": {"error": "Unauthorized: missing or invalid API key."}}, 401)
    body: dict[str, Any] = call.body
    match call.method, call.path:
        case "POST", "/search":
            return _search(body)
        case "POST", "/extract":
            return _extract(body)
        case _:
            return Reply({"detail": "Not Found"}, 404)


def _search(body: dict[str, Any]) -> Reply:
    known = {"query", "max_results", "search_depth", "topic", "time_range", "include_domains"}
    sound = (
        set(body) <= known
        and 0 <= body["max_results"] <= 20
        and body["search_depth"] in ("basic", "advanced")
        and body["topic"] in ("general", "news", "finance")
        and body.get("time_range", "day") in ("day", "week", "month", "year")
    )
    if not sound:
        return Reply({"detail": {"error": "Invalid request"}}, 400)
    results = [
        {"title": text[2:5], "url": url, "content": text[7:], "score": 0.9, "raw_content": None}
        for url, text in PAGES.items()
        if "nothing" not in body["query"]
    ]
    if body["topic"] == "news":
        results = [{**one, "published_date": "Tue, 12 May 2026 08:00:00 GMT"} for one in results]
    told = {"query": body["query"], "answer": None, "images": [], "follow_up_questions": None}
    return Reply({**told, "results": results[: body["max_results"]], "response_time": 0.7, "request_id": "r-1"})


def _extract(body: dict[str, Any]) -> Reply:
    if set(body) != {"urls", "extract_depth", "format"} or body["format"] not in ("markdown", "text"):
        return Reply({"detail": {"error": "Invalid request"}}, 400)
    good = [{"url": url, "raw_content": PAGES[url], "images": []} for url in body["urls"] if url in PAGES]
    bad = [{"url": url, "error": "Failed to fetch url"} for url in body["urls"] if url not in PAGES]
    return Reply({"results": good, "failed_results": bad, "response_time": 0.2, "request_id": "r-2"})


@asynccontextmanager
async def tavily(key: str = KEY, **settings: Any) -> AsyncIterator[tuple[Tavily, Loopback, Told]]:
    async with loopback() as server:
        server.answers(tavily_says)
        made = Reaching.model_validate({"TAVILY_API_KEY": SecretStr(key), "tavily_base_url": server.url, **settings})
        async with open_tavily(made) as it:
            yield it, server, Told()


async def test_pages_are_found_and_a_basic_search_costs_one_credit():
    async with tavily() as (it, server, told):
        found = await it.search(told.context, "first pages", 2)
        assert found[0] == Hit("One", "https://a.example/one", "The first page.")
        assert told.spent == [("tavily", 0.008)]
        assert server.calls[0].body["max_results"] == 2


async def test_news_say_when_they_were_published_and_an_advanced_search_costs_two_credits():
    async with tavily() as (it, server, told):
        found = await it.search(
            told.context, "x", 1, depth="advanced", topic="news", newer_than="week", sites=["a.example"]
        )
        assert found[0].published == "Tue, 12 May 2026 08:00:00 GMT"
        assert told.spent == [("tavily", 0.016)]
        assert server.calls[0].body["include_domains"] == ["a.example"]


async def test_nothing_found_is_no_error():
    async with tavily() as (it, _, told):
        assert await it.search(told.context, "nothing of that") == []


async def test_a_page_is_read_and_cited_by_its_address_and_paid_for_once():
    async with tavily() as (it, server, told):
        pages = Pages(it, (), told.context)
        text = await pages.read_page("https://a.example/one", length=10)
        assert text.startswith("[https://a.example/one: characters 0 to 10 of 22; more follows: start=10]\n# One")
        assert "The first page." in await pages.read_page("https://a.example/one", start=7)
        assert len(server.calls) == 1
        assert told.found == [("https://a.example/one", PAGES["https://a.example/one"], "")]
        assert told.spent == [("tavily", 0.008)]


async def test_a_page_that_was_read_is_read_anew_where_more_of_it_is_wanted():
    async with tavily() as (it, server, told):
        pages = Pages(it, (), told.context)
        await pages.read_page("https://a.example/one")
        await pages.read_page("https://a.example/one", thorough=True)
        assert [call.body["extract_depth"] for call in server.calls] == ["basic", "advanced"]


async def test_a_page_that_cannot_be_read_says_why():
    async with tavily() as (it, _, told):
        with pytest.raises(ToolFailed, match=r"could not read https://b.example/: Failed to fetch url\."):
            await Pages(it, (), told.context).read_page("https://b.example/")
        assert told.found == []


async def test_the_price_of_a_credit_can_be_set_and_switched_off():
    async with tavily(tavily_credit_usd=0.005) as (it, _, told):
        await it.search(told.context, "x")
        assert told.spent == [("tavily", 0.005)]
    async with tavily(tavily_credit_usd="none") as (it, _, told):
        await it.search(told.context, "x")
        assert told.spent == []


async def test_without_room_in_the_budget_nothing_is_asked():
    async with tavily() as (it, server, told):
        told.refuse = BudgetSpent("no room.")
        with pytest.raises(BudgetSpent):
            await it.search(told.context, "x")
        assert server.calls == []


async def test_a_wrong_key_names_the_setting():
    async with tavily("tvly-wrong") as (it, _, told):
        with pytest.raises(ToolFailed) as raised:
            await it.search(told.context, "x")
    assert "Unauthorized: missing or invalid API key. Check TAVILY_API_KEY." in str(raised.value)
    assert "tvly-wrong" not in str(raised.value)


@pytest.mark.parametrize(
    ("status", "told_of"), [(432, "The plan of TAVILY_API_KEY is used up"), (433, "as it goes is reached")]
)
async def test_a_plan_that_is_used_up_is_told(status: int, told_of: str):
    async with tavily() as (it, server, told):
        server.now = [Reply({"detail": {"error": "This request exceeds your plan's set usage limit."}}, status)]
        with pytest.raises(ToolFailed, match=told_of):
            await it.search(told.context, "x")


async def test_a_rate_limit_is_told_with_its_end():
    async with tavily() as (it, server, told):
        server.now = [Reply({"detail": {"error": "blocked due to excessive requests"}}, 429, {"retry-after": "30"})]
        with pytest.raises(LimitReached) as raised:
            await it.search(told.context, "x")
        assert 25 < raised.value.retry_after <= 30
        with pytest.raises(LimitReached):
            await it.search(told.context, "x")
        assert len(told.spent) == 1, "a call that was not sent was paid for"


async def test_a_call_that_may_have_cost_something_is_not_repeated():
    async with tavily() as (it, server, told):
        server.now = [Reply({"detail": {"error": "Internal Server Error"}}, 500)]
        with anyio.fail_after(20), pytest.raises(ToolFailed, match="status 500"):
            await it.search(told.context, "x")
        assert len(server.calls) == 1


async def test_a_query_that_is_too_long_is_refused_before_it_costs_anything():
    async with tavily() as (it, server, told):
        with pytest.raises(ToolFailed, match="Tavily takes 400"):
            await it.search(told.context, "x" * 401)
        assert (server.calls, told.spent) == ([], [])


async def test_results_without_an_address_and_other_oddities_are_left_out():
    async with tavily() as (it, server, told):
        server.now = [Reply({"results": [None, 3, {"title": "T"}, {"url": "https://x.example", "title": ["T"]}]})]
        assert await it.search(told.context, "x") == [Hit("", "https://x.example", "")]


@pytest.mark.parametrize(
    "address", ["http://127.1/", "http://[::1]/", "http://intranet/", "http://10.0.0.7/", "ftp://a.example/"]
)
async def test_nobody_is_sent_to_what_is_no_page_of_the_public_internet(address: str):
    async with tavily() as (it, server, told):
        with pytest.raises(ToolFailed):
            await Pages(it, (), told.context).read_page(address)
        assert (server.calls, told.spent) == ([], [])
