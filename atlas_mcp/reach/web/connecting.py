"""The one way out: names are resolved and judged here, and what was judged is what is connected to.

Promise: no connection is made to an address that is not of the public internet, unless the user allowed its host by
name. The name is resolved once for each connection, every address it has must be public, and the connection goes to one
of exactly these; so a name that means something else a moment later gains nothing. TLS verifies the name.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

import anyio
import httpcore

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.web.forbidden import why_forbidden

Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives the IP addresses of a host; raises OSError where there are none."""
_TRY_SECONDS = 4.0
"""How long one of several addresses of a host may take to answer before the next is tried."""


async def resolve(host: str, port: int) -> Sequence[str]:
    """The addresses of that host, as the system knows them, in its order."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@dataclass(frozen=True)
class Network:
    """How hosts are found and connected to."""

    resolve: Resolve = resolve
    backend: httpcore.AsyncNetworkBackend = field(
        default_factory=lambda: cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())
    )


class Allowed:
    """The hosts that may be private: `host`, or `host:port`; an IPv6 address with a port stands in brackets."""

    def __init__(self, entries: Iterable[str] = ()) -> None:
        self._entries = frozenset(entry.lower() for entry in entries)

    def __contains__(self, place: tuple[str, int]) -> bool:
        host, port = place
        shown = f"[{host}]" if ":" in host else host
        return bool({host, shown, f"{shown}:{port}"} & self._entries)


class CheckedBackend(httpcore.AsyncNetworkBackend):
    """Connects to public hosts, and to those that are allowed. Raises ToolFailed for others."""

    def __init__(self, allowed: Allowed, network: Network | None = None) -> None:
        self._allowed = allowed
        self._network = network or Network()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """A connection to one of the host's addresses, after all of them were judged."""
        try:
            with anyio.fail_after(timeout):
                addresses = await self._judged(host, port)
                return await self._first(addresses, port, timeout, socket_options)
        except TimeoutError:
            raise httpcore.ConnectTimeout(f"{host} did not answer in time") from None

    async def _judged(self, host: str, port: int) -> Sequence[str]:
        addresses: Sequence[str] = ()
        with contextlib.suppress(OSError, UnicodeError):
            addresses = await self._network.resolve(host, port)
        if not addresses:
            raise ToolFailed(f"there is no host {host!r}, or its name cannot be looked up now.", argument="address")
        if (host, port) not in self._allowed:
            for address in addresses:
                if what := why_forbidden(address):
                    raise ToolFailed(
                        f"{host} is not fetched from: it leads to an address that is {what}, not to the public web.",
                        argument="address",
                        next_step="Use another page; the user may allow a host by name in ATLAS_WEB_ALLOW.",
                    )
        return addresses

    async def _first(
        self,
        addresses: Sequence[str],
        port: int,
        timeout: float | None,
        options: Iterable[httpcore.SOCKET_OPTION] | None,
    ) -> httpcore.AsyncNetworkStream:
        *others, last = addresses
        for address in others:
            try:
                return await self._network.backend.connect_tcp(address, port, _TRY_SECONDS, None, options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._network.backend.connect_tcp(last, port, timeout, None, options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None
    ) -> httpcore.AsyncNetworkStream:
        """Never: pages are not in files."""
        raise ToolFailed("pages are fetched from hosts only.", argument="address")

    async def sleep(self, seconds: float) -> None:
        """Wait, as httpcore asks."""
        await anyio.sleep(seconds)
