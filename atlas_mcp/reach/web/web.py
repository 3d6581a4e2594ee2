"""The web as agents reach it: the door `web`, whose `fetch` gives a page.

Promise: what an agent is given of a page is kept by `context.found` first, whole, so that it can be cited. A page is
asked for once, however many want it at the same time, and again only when its server's time for it is over. Nothing is
imported, connected or started before the first page is asked for.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.status import Room
from atlas_mcp.reach.web.flights import Flights

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.reaching import Reaching
    from atlas_mcp.reach.context import CallContext
    from atlas_mcp.reach.readers import Readers
    from atlas_mcp.reach.web.address import WebAddress
    from atlas_mcp.reach.web.connecting import Network
    from atlas_mcp.reach.web.fetching import Fetched, Fetcher, Visit
    from atlas_mcp.reach.web.page import Page
    from atlas_mcp.reach.web.pages import Pages
    from atlas_mcp.store.record import Record

FETCH_SECONDS = 25.0
_READ = "atlas_mcp.reach.web.reading:read"
READ_SECONDS = 12.0
"""For how long a page is read, and for how long again without care where that was not enough."""
CAREFUL_BYTES = 2_000_000
"""Up to which size the article in a page is looked for at all."""


@asynccontextmanager
async def open_web(settings: Reaching, record: Record, home: Path) -> AsyncGenerator[Web]:
    """The web, as the settings allow it, until the block is left; called, it opens the door for one turn."""
    async with Web(record, settings.web_allow).opened() as web:
        yield web


@dataclass(frozen=True)
class _Means:
    """What pages are got with, made at the first; `visit_of_others` is for callers who do not own the home."""

    fetcher: Fetcher
    visit: Visit
    visit_of_others: Visit
    pages: Pages
    readers: Readers


class Web:
    """The web, for all turns of this process.

    `allow` are the hosts that may be private, `host` or `host:port`: for who owns the home, and nobody else.
    """

    def __init__(self, record: Record, allow: tuple[str, ...] = (), network: Network | None = None) -> None:
        self._record = record
        self._allow = allow
        self._network = network
        self._flights = Flights["Page"]()
        self._making = anyio.Lock()
        self._made: _Means | None = None
        self._given = 0
        self._refused = 0

    def __call__(self, context: CallContext) -> WebDoor:
        return WebDoor(self, context)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[Web]:
        """The same; what it holds open is closed when the block is left."""
        try:
            yield self
        finally:
            if self._made is not None:
                with anyio.CancelScope(shield=True):
                    await self._made.readers.close()
                    await self._made.fetcher.close()

    async def page(self, caller: Caller, text: str) -> Page:
        """The page at that address. ToolFailed where it cannot be had or read."""
        means = await self._means()
        from atlas_mcp.reach.web.address import parse_address

        address = parse_address(text)
        try:
            page = await self._flights.share(f"{caller.id}\n{address}", lambda: _get(means, caller, address))
        except ToolFailed:
            self._refused += 1
            raise
        self._given += 1
        return page

    def room(self, name: str) -> Room:
        """How it went since the start, for all callers, so that no address is told; a page that fails is no fault."""
        health = "ok" if self._given or self._refused else "idle"
        text = f"Since the start: pages given {self._given:,}, asked for in vain {self._refused:,}.{self._allowed()}"
        return Room(name=name, health=health, text=text)

    def _allowed(self) -> str:
        return f" Private hosts that are allowed, for who owns this home: {len(self._allow)}." if self._allow else ""

    async def _means(self) -> _Means:
        async with self._making:
            if self._made is None:
                self._made = await anyio.to_thread.run_sync(self._make)
            return self._made

    def _make(self) -> _Means:
        from atlas_mcp.reach.readers import Readers
        from atlas_mcp.reach.web.connecting import Allowed, CheckedBackend
        from atlas_mcp.reach.web.fetching import Fetcher
        from atlas_mcp.reach.web.manners import Manners
        from atlas_mcp.reach.web.pages import Pages

        allowed = Allowed(self._allow)
        fetcher = Fetcher(CheckedBackend(allowed, self._network))
        visit = Manners(fetcher).visit

        def visit_of_others(address: WebAddress) -> AbstractAsyncContextManager[None]:
            """Connections are kept and shared, so that nobody else may even ask for such a host."""
            if (address.host, address.port) in allowed:
                raise ToolFailed(
                    f"{address.origin} is not fetched from for you: it is open to who owns this ATLAS alone.",
                    argument="address",
                    next_step="Use a page of the public web.",
                )
            return visit(address)

        return _Means(fetcher, visit, visit_of_others, Pages(self._record), Readers())


class WebDoor:
    """The web for one agent in one turn."""

    def __init__(self, web: Web, context: CallContext) -> None:
        self._web = web
        self._context = context

    async def fetch(self, address: str) -> Page:
        """The page at that address, which may be cited from now on by the address it has in the end."""
        page = await self._web.page(self._context.caller, address)
        await self._context.found(page.address, page.text, title=page.title)
        return page


async def _get(means: _Means, caller: Caller, address: WebAddress) -> Page:
    from atlas_mcp.reach.web.freshness import fresh_until

    kept = await means.pages.find(caller, str(address))
    if kept is not None and kept.fresh:
        return kept.page
    known = {kept.page.address: kept.conditions} if kept else {}
    visit = means.visit if caller.owns_home else means.visit_of_others
    got = await means.fetcher.get(address, seconds=FETCH_SECONDS, visit=visit, known=known)
    expires = fresh_until(got.headers, datetime.now(UTC))
    if got.status == 304 and kept is not None:
        await means.pages.renew(caller, str(address), expires)
        return kept.page
    page = await _read(means.readers, got)
    etag, modified = got.headers.get("etag"), got.headers.get("last-modified")
    await means.pages.keep(caller, str(address), page, expires, etag, modified)
    return page


async def _read(readers: Readers, got: Fetched) -> Page:
    from atlas_mcp.reach.readers import TookTooLong
    from atlas_mcp.reach.web.kinds import kind_of
    from atlas_mcp.reach.web.page import Page

    address = str(got.address)
    try:
        if not got.body.strip():
            raise ToolFailed("it is empty.", next_step="Use another page.")
        kind, charset = kind_of(got.headers.get("content-type", ""), got.body)
        read = partial(readers.call, _READ, got.body, kind=kind, charset=charset, address=address)
        care = kind != "html" or len(got.body) <= CAREFUL_BYTES
        try:
            said = await read(seconds=READ_SECONDS, care=care)
        except TookTooLong:
            if kind != "html" or not care:
                raise
            said = await read(seconds=READ_SECONDS, care=False)
    except ToolFailed as error:
        raise ToolFailed(f"{address}: {error.message}", next_step=error.next_step or "Use another page.") from None
    return Page.model_validate({**said, "address": address})
