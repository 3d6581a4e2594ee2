"""Searching the web: the door `search`, by Tavily where its key is set, else by a SearXNG of the user's.

Promise: what comes out is addresses with a few words each, to choose from; nothing of it may be cited, for a snippet is
what a search engine made of a page. SearXNG is asked as its documentation says
(https://docs.searxng.org/dev/search_api.html), with the manners of all services.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit, urlunsplit

from atlas_mcp.errors import ConfigurationError, ToolFailed
from atlas_mcp.reach.connectors.answer import objects, text_in
from atlas_mcp.reach.connectors.http import About, Request, Service, open_service

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from pathlib import Path

    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.model.status import Room
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.store.record import Record

MOST_QUERY = 400
MOST_HITS = 20
_TITLE, _SNIPPET, _ADDRESS, _DATE = 200, 600, 1_000, 40
_STEPS = {
    403: "Its settings.yml must name json in search: formats: [html, json], and it must be started again then.",
    404: "ATLAS_WEB_SEARCH_URL must be where its start page is, without /search.",
}


@dataclass(frozen=True, slots=True)
class WebHit:
    """A page that may be worth reading; `date` is when it was published, as the engine says it, if it does."""

    title: str
    address: str
    snippet: str
    date: str = ""


@asynccontextmanager
async def open_search(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Search]:
    """What the web is searched with, until the block is left; called, it opens the door for one turn."""
    if settings.tavily_api_key:
        from atlas_mcp.reach.connectors.tavily import open_tavily

        async with open_tavily(settings) as tavily:

            async def by_tavily(context: CallContext, query: str, limit: int) -> Sequence[WebHit]:
                hits = await tavily.search(context, query, limit)
                return [WebHit(hit.title, hit.address, hit.text, hit.published) for hit in hits]

            yield Search(tavily.service, by_tavily)
    else:
        about, headers = _searxng(settings.web_search_url.get_secret_value() if settings.web_search_url else "")
        async with open_service(about) as service:

            async def by_searxng(context: CallContext, query: str, limit: int) -> Sequence[WebHit]:
                return await _ask_searxng(service, headers, query)

            yield Search(service, by_searxng)


@dataclass(frozen=True)
class Search:
    """What the web is searched with, for all turns."""

    service: Service
    ask: Callable[[CallContext, str, int], Awaitable[Sequence[WebHit]]]

    def __call__(self, context: CallContext) -> SearchDoor:
        return SearchDoor(self, context)

    def room(self, name: str) -> Room:
        """How it last answered; it is not asked for that."""
        return self.service.room(name)


class SearchDoor:
    """Searching the web, for one agent in one turn."""

    def __init__(self, search: Search, context: CallContext) -> None:
        self._search = search
        self._context = context

    async def search(self, query: str, limit: int = 5) -> Sequence[WebHit]:
        """The best hits, each of bounded length; none if there are none. ToolFailed where it cannot be searched."""
        words = " ".join(query.split())
        if not words:
            raise ToolFailed("it has no words.", argument="query", next_step="Say what you look for.")
        if len(words) > MOST_QUERY:
            raise ToolFailed(
                f"it has {len(words):,} characters; {MOST_QUERY} are the most.",
                argument="query",
                next_step="Search for fewer words at a time.",
            )
        most = max(1, min(limit, MOST_HITS))
        hits = await self._search.ask(self._context, words, most)
        shown: dict[str, WebHit] = {}
        for hit in hits:
            if hit.address.startswith(("http://", "https://")) and len(hit.address) <= _ADDRESS:
                shown.setdefault(hit.address, _bounded(hit))
        return list(shown.values())[:most]


def _searxng(address: str) -> tuple[About, dict[str, str]]:
    """What is known of that SearXNG, and the headers to ask it with: a name and password may stand in its address."""
    parts = urlsplit(address.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigurationError(
            "it is no address of a SearXNG.",
            argument="ATLAS_WEB_SEARCH_URL",
            next_step="Give it whole, such as http://127.0.0.1:8888.",
        )
    user, _, place = parts.netloc.rpartition("@")
    base = urlunsplit((parts.scheme, place, parts.path.rstrip("/").removesuffix("/search"), "", ""))
    headers: dict[str, str] = {}
    if user:
        from base64 import b64encode
        from urllib.parse import unquote

        headers["authorization"] = "Basic " + b64encode(unquote(user).encode()).decode()
    secrets = tuple(filter(None, (parts.password, user)))
    return About("SearXNG", base, "ATLAS_WEB_SEARCH_URL", _STEPS, secrets), headers


async def _ask_searxng(service: Service, headers: dict[str, str], query: str) -> list[WebHit]:
    told = await service.read(Request("GET", "/search", {"q": query, "format": "json"}, headers))
    hits = [
        WebHit(text_in(one, "title"), text_in(one, "url"), text_in(one, "content"), _date(one))
        for one in objects(told, "results")
    ]
    silent = told.get("unresponsive_engines")
    if not hits and silent:
        raise ToolFailed(
            f"SearXNG found nothing, and its engines did not answer: {_engines(silent)}.",
            next_step="Try again in some minutes; if it stays so, other engines must be enabled in its settings.yml.",
        )
    return hits


def _engines(silent: object) -> str:
    """Which engines did not answer, and why: SearXNG gives pairs."""
    told = cast("list[object]", silent) if isinstance(silent, list) else []
    pairs = [cast("list[object]", one)[:2] for one in told if isinstance(one, list)]
    return "; ".join(" ".join(str(part)[:60] for part in pair) for pair in pairs[:5]) or "it does not say which"


def _date(found: dict[str, Any]) -> str:
    return text_in(found, "publishedDate") or text_in(found, "pubdate")


def _bounded(hit: WebHit) -> WebHit:
    return WebHit(
        " ".join(hit.title.split())[:_TITLE],
        hit.address,
        " ".join(hit.snippet.split())[:_SNIPPET],
        hit.date[:_DATE],
    )
