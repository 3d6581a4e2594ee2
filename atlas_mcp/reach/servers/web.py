"""A server that is reached over HTTP, in the streamable form or the older one with SSE.

Promise: an answer beyond MOST_BYTES is not read to its end, and none is unpacked: what is bounded is what comes. The
user's headers go to the server's own origin only.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage

from atlas_mcp.reach.servers.signed import Signed
from atlas_mcp.reach.servers.wire import MOST_BYTES, CutOffError, Flow

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping

    from atlas_mcp.reach.servers.logins import Login

logging.getLogger("mcp.client").setLevel(logging.CRITICAL)  # it logs whole answers; ours are told in our own words
_CONNECT_SECONDS = 10.0
_SILENT_SECONDS = 900.0  # of a stream; calls have deadlines of their own
_USUAL = httpx2.Timeout(_CONNECT_SECONDS, read=_SILENT_SECONDS)


class _Bounded(httpx2.AsyncByteStream):
    """A body that fails beyond MOST_BYTES, or at once where there is a reason to refuse it."""

    def __init__(self, body: httpx2.AsyncByteStream, refused: str) -> None:
        self._body = body
        self._refused = refused

    async def __aiter__(self) -> AsyncIterator[bytes]:
        length = 0
        async for part in self._body:
            length += len(part)
            if self._refused or length > MOST_BYTES:
                raise httpx2.StreamError(self._refused or f"its answer has more than {MOST_BYTES:,} bytes")
            yield part

    async def aclose(self) -> None:
        await self._body.aclose()


async def _bound(response: httpx2.Response) -> None:
    if response.status_code == 403:
        raise httpx2.HTTPStatusError("refused", request=response.request, response=response)
    packed = response.headers.get("content-encoding", "identity").lower() != "identity"
    streams = response.headers.get("content-type", "").startswith("text/event-stream")
    if isinstance(response.stream, httpx2.AsyncByteStream) and (packed or not streams):  # events have a bound each
        response.stream = _Bounded(response.stream, "it packs its answers, though asked not to" if packed else "")


def http_client(
    headers: Mapping[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
) -> httpx2.AsyncClient:
    """What asks such a server; it follows no redirects."""
    given = {"Accept-Encoding": "identity", **(headers or {})}
    hooks = {"request": list[Any](), "response": [_bound]}
    return httpx2.AsyncClient(headers=given, timeout=timeout or _USUAL, auth=auth, event_hooks=hooks)


@asynccontextmanager
async def over_http(login: Login, trouble: Callable[[str], None]) -> AsyncGenerator[tuple[Any, Any]]:
    """The streams of messages from and to the server. `trouble` is told why there will be no more."""
    config, headers = login.config, dict(login.config.headers)
    signed = Signed(login, http_client, trouble)
    if config.transport == "sse":
        connection = sse_client(config.url, headers, _CONNECT_SECONDS, _SILENT_SECONDS, http_client, signed)
        async with connection as (read, write), _counted(read, trouble) as counted:
            yield counted, write
        return
    async with (
        http_client(headers, auth=signed) as http,
        streamable_http_client(config.url, http_client=http, max_sse_event_size=MOST_BYTES) as (read, write),
        _counted(read, trouble) as counted,
    ):
        yield counted, write


@asynccontextmanager
async def _counted(read: Any, trouble: Callable[[str], None]) -> AsyncGenerator[Any]:
    """The same messages, as long as they do not come too fast."""
    to_us, counted = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    flow = Flow()

    async def pass_on() -> None:
        async with to_us:
            try:
                async for message in read:
                    flow.count()
                    await to_us.send(message)
                trouble("it ended the connection")
            except CutOffError as cut:
                trouble(str(cut))
            except (anyio.ClosedResourceError, anyio.BrokenResourceError):
                trouble("the connection was closed")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(pass_on)
        try:
            yield counted
        finally:
            counted.close()
            tasks.cancel_scope.cancel()
