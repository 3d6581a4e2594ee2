"""One address asked, redirects followed, within limits: bytes on the wire and unpacked, seconds, redirects, headers.

Promise: each hop is judged as the first was, and asked for leave; no cookie, key or name goes along. What goes wrong is
one ToolFailed that says what and what to do next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import httpcore
import httpx

from atlas_mcp import __version__
from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.connecting import CheckedBackend
from atlas_mcp.reach.web.refusals import refused
from atlas_mcp.reach.web.unpacking import ACCEPTED, TooLarge, unpacked

if TYPE_CHECKING:
    from atlas_mcp.reach.web.address import WebAddress

MOST_BYTES = 10_000_000
MOST_REDIRECTS = 10
AGENT_NAME = "ATLAS-MCP"
"""How robots.txt calls us."""
USER_AGENT = f"{AGENT_NAME}/{__version__} (atlas-constellation; an agent that reads pages for a person)"
_CONNECT_SECONDS = 10.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_ACCEPT = "text/html,application/xhtml+xml,application/pdf,text/*;q=0.9,application/json;q=0.9,*/*;q=0.5"

Visit = Callable[["WebAddress"], AbstractAsyncContextManager[None]]
"""Entered for each hop; raises ToolFailed where the address may not be fetched."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an address gave: where it was in the end, the status (200 to 299, or 304), the headers and the bytes."""

    address: WebAddress
    status: int
    headers: httpx.Headers
    body: bytes


class Fetcher:
    """Asks addresses, over connections that it keeps for a while; `close` ends them."""

    def __init__(self, backend: CheckedBackend) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=15.0,
            network_backend=backend,
        )

    async def close(self) -> None:
        """End the connections."""
        await self._pool.aclose()

    async def get(
        self,
        address: WebAddress,
        *,
        seconds: float,
        visit: Visit | None = None,
        most: int = MOST_BYTES,
        known: Mapping[str, Mapping[str, str]] | None = None,
        cut: bool = False,
    ) -> Fetched:
        """What the address gives, after redirects.

        `known` has for addresses whose page is at hand the headers that ask only for a newer one; such an answer has
        the status 304. With `cut`, of what is larger than `most` the beginning is given. Raises ToolFailed for a
        refusal or anything beyond its limits; an error status is Refused.
        """
        try:
            with anyio.fail_after(seconds):
                return await self._follow(address, visit or _unasked, most, known or {}, cut)
        except TimeoutError:
            raise ToolFailed(
                f"{address} did not send all of it within {seconds:g} s.", next_step="Try once more, or another page."
            ) from None

    async def _follow(
        self, address: WebAddress, visit: Visit, most: int, known: Mapping[str, Mapping[str, str]], cut: bool
    ) -> Fetched:
        seen: list[WebAddress] = []
        at = address
        while True:
            if at in seen:
                raise ToolFailed(f"{address} leads around in circles: {at} leads back to itself.")
            if len(seen) > MOST_REDIRECTS:
                raise ToolFailed(f"{address} leads on more than {MOST_REDIRECTS} times; the last was {at}.")
            seen.append(at)
            async with visit(at):
                got = await self._hop(at, most, known.get(str(at), {}), cut)
            if not isinstance(got, str):
                return got
            try:
                at = at.join(got)
            except ToolFailed as error:
                raise ToolFailed(f"{at} leads to another address, and that cannot be used: {error.message}") from None

    async def _hop(self, at: WebAddress, most: int, conditions: Mapping[str, str], cut: bool) -> Fetched | str:
        """What this one address gives, or where it leads."""
        host = at.origin.partition("://")[2]
        headers = [("Host", host), ("User-Agent", USER_AGENT), ("Accept", _ACCEPT), ("Accept-Encoding", ACCEPTED)]
        headers += conditions.items()
        url = httpcore.URL(scheme=at.scheme, host=at.host, port=at.port, target=at.target)
        wait = {"connect": _CONNECT_SECONDS}
        try:
            async with self._pool.stream("GET", url, headers=headers, extensions={"timeout": wait}) as response:
                given = httpx.Headers(response.headers)
                if response.status in _REDIRECTS and "location" in given:
                    return given["location"]
                if response.status == 304 and conditions:
                    return Fetched(at, 304, given, b"")
                if not 200 <= response.status < 300:
                    raise refused(at, response.status, given)
                raw = await _received(at, response, given, most, cut)
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.ProtocolError) as error:
            raise _broken(at, error) from None
        try:
            return Fetched(at, response.status, given, unpacked(raw, given.get("content-encoding", ""), most))
        except TooLarge as error:
            if cut:
                return Fetched(at, response.status, given, error.beginning)
            raise _too_large(at, most, "unpacked") from None


def _unasked(address: WebAddress) -> AbstractAsyncContextManager[None]:
    return nullcontext()


async def _received(at: WebAddress, response: httpcore.Response, headers: httpx.Headers, most: int, cut: bool) -> bytes:
    told = headers.get("content-length", "")
    if not cut and told.isascii() and told.isdigit() and int(told[:20]) > most:
        raise _too_large(at, most, f"{int(told[:20]):,} bytes, it says")
    raw = bytearray()
    async for part in response.aiter_stream():
        raw += part
        if len(raw) > most and cut:
            return bytes(raw[:most])
        if len(raw) > most:
            raise _too_large(at, most, "as sent")
    return bytes(raw)


def _too_large(at: WebAddress, most: int, how: str) -> ToolFailed:
    return ToolFailed(
        f"{at} is larger than {most // 1_000_000} MB ({how}) and was not read.",
        next_step="Look for a smaller one: its abstract, a single chapter, or another page on the matter.",
    )


def _broken(at: WebAddress, error: Exception) -> ToolFailed:
    """What a person can make of a connection that failed."""
    text = str(error)[:200]
    if "certificate" in text.lower() or "ssl" in text.lower():
        why = f"its identity could not be verified ({text})"
    elif isinstance(error, httpcore.TimeoutException):
        why = "it cannot be reached in time"
    elif isinstance(error, httpcore.ConnectError):
        why = "it cannot be reached: no connection was taken"
    elif isinstance(error, httpcore.ProtocolError):
        why = f"what it sent is not proper HTTP ({text or type(error).__name__})"
    else:
        why = "the connection broke"
    return ToolFailed(f"{at}: {why}.", next_step="Try once more later, or another page.")
