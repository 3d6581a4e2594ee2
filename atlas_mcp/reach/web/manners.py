"""Manners towards a site: its robots.txt is kept to, and it is asked a few pages at a time.

Promise: no page is asked that the site's rules close to us, and none while its rules are unknown because the site does
not answer (RFC 9309). The rules are asked for once in a while, not for each page. At most AT_ONCE requests go to one
site at a time, and no faster than its rules say, up to LONGEST_DELAY seconds between two.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from protego import Protego

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.fetching import AGENT_NAME
from atlas_mcp.reach.web.refusals import Refused

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atlas_mcp.reach.web.address import WebAddress
    from atlas_mcp.reach.web.fetching import Fetcher

AT_ONCE = 6
LONGEST_DELAY = 10.0
_RULES_SECONDS = 10.0
_RULES_BYTES = 512_000
_KEPT_SECONDS = 6 * 3600.0
_UNKNOWN_SECONDS = 60.0
"""For how long a site whose rules could not be had is taken at that."""
_SITES = 1_000


@dataclass
class _Site:
    """What is known of one site. `rules` are None where it has none; `closed` says why nothing may be asked of it."""

    asking: anyio.Lock = field(default_factory=anyio.Lock)
    places: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(AT_ONCE))
    rules: Protego | None = None
    closed: str = ""
    known_until: float = 0.0
    delay: float = 0.0
    next_at: float = 0.0


class Manners:
    """What is known of the sites that were asked lately, for all turns of this process."""

    def __init__(self, fetcher: Fetcher) -> None:
        self._fetcher = fetcher
        self._sites: dict[str, _Site] = {}

    @asynccontextmanager
    async def visit(self, address: WebAddress) -> AsyncGenerator[None]:
        """A place at that site, when the address may be asked. ToolFailed where the site's rules close it to us."""
        site = self._site(address)
        await self._leave(site, address)
        async with site.places:
            yield

    async def _leave(self, site: _Site, address: WebAddress) -> None:
        async with site.asking:
            if site.known_until < time.monotonic():
                await self._learn(site, address)
        if site.closed:
            raise ToolFailed(
                f"{address.origin} is not asked now: its rules for programs (robots.txt) {site.closed}.",
                next_step="Use another site, or try again in some minutes.",
            )
        if site.rules is not None and not site.rules.can_fetch(str(address), AGENT_NAME):
            raise ToolFailed(
                f"{address} is closed to programs by its site's rules (robots.txt).", next_step="Use another page."
            )
        if site.delay:
            now = time.monotonic()
            at = max(now, site.next_at)
            if at - now > 2 * LONGEST_DELAY:
                raise ToolFailed(
                    f"{address.origin} wants {site.delay:g} s between two pages, and others wait for theirs already.",
                    next_step="Use another site, or try again in a minute.",
                )
            site.next_at = at + site.delay
            await anyio.sleep(at - now)

    def _site(self, address: WebAddress) -> _Site:
        if address.origin not in self._sites and len(self._sites) >= _SITES:
            quiet = (o for o, s in self._sites.items() if not (s.places.borrowed_tokens or s.asking.locked()))
            del self._sites[next(quiet, next(iter(self._sites)))]
        return self._sites.setdefault(address.origin, _Site())

    async def _learn(self, site: _Site, address: WebAddress) -> None:
        """Ask for the rules. A site that says it has none has none; one that does not answer is closed for a while."""
        site.rules, site.closed, site.delay, kept = None, "", 0.0, _KEPT_SECONDS
        try:
            got = await self._fetcher.get(
                address.join("/robots.txt"), seconds=_RULES_SECONDS, most=_RULES_BYTES, cut=True
            )
            site.rules = await anyio.to_thread.run_sync(Protego.parse, got.body.decode("utf-8", "replace"))
            site.delay = min(LONGEST_DELAY, max(0.0, site.rules.crawl_delay(AGENT_NAME) or 0.0))
        except Refused as error:
            if error.status >= 500 or error.status == 429:
                site.closed, kept = f"cannot be had ({error.message.rstrip('.')})", _UNKNOWN_SECONDS
        except ToolFailed as error:
            if error.argument == "address":
                raise  # it is the host that may not be asked, and it says so better
            site.closed, kept = f"cannot be had ({error.message.rstrip('.')})", _UNKNOWN_SECONDS
        site.known_until = time.monotonic() + kept
