"""Firecrawl: reading pages that need a browser, and searching the web. https://docs.firecrawl.dev/api-reference

Promise: nobody is sent into a private network, see `public`. Of a PDF no more than MOST_PAGES are read, so that a call
costs as many credits and one at most. What a call costs is as https://docs.firecrawl.dev/billing says: 1 credit for a
page, 1 more for each page of a PDF, 2 for up to 10 results of a search. Firecrawl's documentation gives no price of a
credit: unless the settings say one (ATLAS_FIRECRAWL_CREDIT_USD), nothing is entered. A call that Firecrawl may have
taken is not repeated: it costs twice.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.connectors.answer import inner, number_of, objects, text_in
from atlas_mcp.reach.connectors.http import PAGE_SECONDS, About, Connector, Request, Service, open_service
from atlas_mcp.reach.connectors.public import public_page
from atlas_mcp.reach.connectors.stretch import MOST_CHARS, stretch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.store.record import Record

MOST_RESULTS = 10
MOST_QUERY = 500
MOST_PAGES = 20
_PAGE_MILLISECONDS = 40_000
_STEPS = {
    400: "Ask otherwise.",
    401: "Check FIRECRAWL_API_KEY.",
    402: "The credits of FIRECRAWL_API_KEY are used up: raise its plan at firecrawl.dev/app.",
    403: "Firecrawl does not read this site, or FIRECRAWL_API_KEY may not: use another source.",
    408: "The page took too long: use another source, or try it later.",
}


@asynccontextmanager
async def open_door(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Connector]:
    """The door `firecrawl`, until the block is left."""
    key = settings.firecrawl_api_key.get_secret_value() if settings.firecrawl_api_key else ""
    about = About("Firecrawl", settings.firecrawl_base_url, "ATLAS_FIRECRAWL_BASE_URL", _STEPS, (key,) if key else ())
    async with open_service(about) as service:
        yield Connector(service, lambda context: Firecrawl(service, settings, context))


class Firecrawl:
    """The door for one turn: a page that was read once is not paid for twice."""

    def __init__(self, service: Service, settings: Reaching, context: CallContext) -> None:
        key = settings.firecrawl_api_key
        self._service = service
        self._headers = {"authorization": f"Bearer {key.get_secret_value()}"} if key else {}  # one's own may have none
        self._settings = settings
        self._context = context
        self._read: dict[str, tuple[str, str]] = {}

    async def read_page(self, address: str, start: int = 0, length: int = MOST_CHARS) -> str:
        """A stretch of the page's main text as Markdown. ToolFailed where the page answered with an error."""
        allowed = self._settings.web_allow if self._context.caller.owns_home else ()
        address = await public_page(address, allowed, own=self._settings.has_own_firecrawl)
        if address not in self._read:
            self._read[address] = await self._page(address)
        name, text = self._read[address]
        return stretch(name, text, start, length)

    async def search(self, query: str, limit: int = 5) -> list[dict[str, str]]:
        """Pages that were found: title, address, text."""
        if len(query) > MOST_QUERY:
            raise ToolFailed(f"query: it has {len(query):,} characters; Firecrawl takes {MOST_QUERY}.")
        body = {"query": query, "limit": max(1, min(limit, MOST_RESULTS))}
        await self._service.ready()  # what will not be sent is not paid for
        await self._pay(2)
        told = await self._service.read(self._request("/v2/search", body))
        hits = [
            {"title": text_in(hit, "title"), "address": text_in(hit, "url"), "text": text_in(hit, "description")[:1000]}
            for hit in objects(inner(told, "data"), "web")
        ]
        for hit in hits:
            await self._context.found(hit["address"], hit["text"], title=hit["title"])
        return hits

    async def _page(self, address: str) -> tuple[str, str]:
        """How it is cited, and its text."""
        body = {
            "url": address,
            "formats": ["markdown"],
            "onlyMainContent": True,
            "timeout": _PAGE_MILLISECONDS,
            "parsers": [{"type": "pdf", "maxPages": MOST_PAGES}],
        }
        await self._service.ready()
        await self._pay(1)
        told = await self._service.read(self._request("/v2/scrape", body))
        page, about = inner(told, "data"), inner(told, "data", "metadata")
        if pages := number_of(about, "numPages"):
            await self._pay(pages)
        if (status := number_of(about, "statusCode")) >= 400:
            raise ToolFailed(f"{address} answered with status {status}.", next_step="Use another source.")
        text, name = text_in(page, "markdown"), text_in(about, "url") or address
        if not text:
            raise ToolFailed(f"Firecrawl found no text at {address}.", next_step="Use another source.")
        for cited in dict.fromkeys((name, address)):
            await self._context.found(cited, text, title=text_in(about, "title"))
        return name, text

    def _request(self, path: str, body: dict[str, Any]) -> Request:
        return Request("POST", path, headers=self._headers, json=body, repeat=False, seconds=PAGE_SECONDS)

    async def _pay(self, credits: int) -> None:
        if (price := self._settings.firecrawl_credit_usd) is not None:
            await self._context.spent("firecrawl", credits * price)
