"""Tavily: searching the web, and reading pages through it. https://docs.tavily.com/documentation/api-reference

Promise: a call costs as many credits as Tavily's documentation says for it, and the price of a credit is told to the
caller's budget before the call is made: $0.008, what Tavily asks of those who pay as they go, unless the settings say
otherwise (https://docs.tavily.com/documentation/api-credits). It stays entered if the call fails. A call that Tavily
may have taken is not repeated: it might cost twice.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.connectors.answer import objects, text_in
from atlas_mcp.reach.connectors.http import PAGE_SECONDS, About, Connector, Request, Service, open_service
from atlas_mcp.reach.connectors.public import public_page
from atlas_mcp.reach.connectors.stretch import MOST_CHARS, stretch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.store.record import Record

MOST_RESULTS = 20
MOST_QUERY = 400
_STEPS = {
    400: "Ask otherwise.",
    401: "Check TAVILY_API_KEY.",
    403: "Check TAVILY_API_KEY, and what its plan allows.",
    432: "The plan of TAVILY_API_KEY is used up: raise it at app.tavily.com, or wait for the next month.",
    433: "The limit of what TAVILY_API_KEY may pay as it goes is reached: raise it at app.tavily.com.",
}

Depth = Literal["basic", "advanced"]
Topic = Literal["general", "news", "finance"]
Age = Literal["day", "week", "month", "year"]
_CREDITS: dict[Depth, int] = {"basic": 1, "advanced": 2}
"""Of a search, and of reading up to five pages."""


@dataclass(frozen=True)
class Hit:
    """A page that was found: `text` is what of it fits the query; `published` as Tavily gives it, if it does."""

    title: str
    address: str
    text: str
    published: str = ""


@asynccontextmanager
async def open_tavily(settings: Reaching) -> AsyncGenerator[Tavily]:
    """Tavily, as the settings have it, until the block is left."""
    key = settings.tavily_api_key.get_secret_value() if settings.tavily_api_key else ""
    about = About("Tavily", settings.tavily_base_url, "ATLAS_TAVILY_BASE_URL", _STEPS, (key,) if key else ())
    async with open_service(about) as service:
        yield Tavily(service, key, settings.tavily_credit_usd)


@asynccontextmanager
async def open_door(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Connector]:
    """The door `tavily`, to read pages by; for searching WEB's door `search` has `open_tavily`."""
    async with open_tavily(settings) as tavily:

        def door(context: CallContext) -> Pages:
            return Pages(tavily, settings.web_allow if context.caller.owns_home else (), context)

        yield Connector(tavily.service, door)


class Tavily:
    """Tavily, for all turns; `credit_usd` is what a credit costs, None if nothing shall be entered."""

    def __init__(self, service: Service, key: str, credit_usd: float | None) -> None:
        self.service = service
        self._headers = {"authorization": f"Bearer {key}"}
        self._credit_usd = credit_usd

    async def search(
        self,
        context: CallContext,
        query: str,
        limit: int = 5,
        *,
        depth: Depth = "basic",
        topic: Topic = "general",
        newer_than: Age | None = None,
        sites: Sequence[str] = (),
    ) -> list[Hit]:
        """The best hits, none if there are none. Who shows them tells `context.found` of those that were shown.

        ToolFailed, LimitReached, BudgetSpent.
        """
        if len(query) > MOST_QUERY:
            raise ToolFailed(f"query: it has {len(query):,} characters; Tavily takes {MOST_QUERY}.")
        body: dict[str, Any] = {
            "query": query,
            "max_results": max(1, min(limit, MOST_RESULTS)),
            "search_depth": depth,
            "topic": topic,
        }
        body |= {"time_range": newer_than} if newer_than else {}
        body |= {"include_domains": list(sites)} if sites else {}
        told = await self._paid(context, _CREDITS[depth], "/search", body)
        return [hit for found in objects(told, "results") if (hit := _hit(found)).address][:limit]

    async def read_page(self, context: CallContext, address: str, *, depth: Depth = "basic") -> str:
        """The page's text as Markdown. ToolFailed where Tavily could not read it."""
        body = {"urls": [address], "extract_depth": depth, "format": "markdown"}
        told = await self._paid(context, _CREDITS[depth], "/extract", body)
        for page in objects(told, "results"):
            if text := text_in(page, "raw_content"):
                return text
        why = next((text_in(page, "error") for page in objects(told, "failed_results")), "")
        raise ToolFailed(f"Tavily could not read {address}{f': {why[:300]}' if why else ''}.")

    async def _paid(self, context: CallContext, credits: int, path: str, body: dict[str, Any]) -> dict[str, Any]:
        await self.service.ready()  # what will not be sent is not paid for
        if self._credit_usd is not None:
            await context.spent("tavily", credits * self._credit_usd)
        request = Request("POST", path, headers=self._headers, json=body, repeat=False, seconds=PAGE_SECONDS)
        return await self.service.read(request)


class Pages:
    """The door for one turn: a page that was read once is not paid for twice."""

    def __init__(self, tavily: Tavily, allowed: Sequence[str], context: CallContext) -> None:
        self._tavily = tavily
        self._allowed = allowed
        self._context = context
        self._read: dict[tuple[str, Depth], str] = {}

    async def read_page(self, address: str, start: int = 0, length: int = MOST_CHARS, *, thorough: bool = False) -> str:
        """A stretch of the page; `thorough` reads also tables and what is embedded, for twice the credits."""
        address = await public_page(address, self._allowed)
        depth: Depth = "advanced" if thorough else "basic"
        if (address, depth) not in self._read:
            text = await self._tavily.read_page(self._context, address, depth=depth)
            await self._context.found(address, text)
            self._read[address, depth] = text
        return stretch(address, self._read[address, depth], start, length)


def _hit(found: dict[str, Any]) -> Hit:
    return Hit(
        text_in(found, "title"), text_in(found, "url"), text_in(found, "content"), text_in(found, "published_date")
    )
