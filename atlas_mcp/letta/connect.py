"""Connections to a Letta: in this process, or at an address. Whoever opens one says what kind it is.

The embedded Letta is reached by the same letta-client as any other; it is handed in as an httpx transport, so that this
room needs to know nothing of it.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from atlas_mcp.letta.door import EVENT_SECONDS, Letta

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    import httpx

CLOUD = "https://api.letta.com"


@asynccontextmanager
async def open_in_process(transport: httpx.AsyncBaseTransport, *, key: str = "in-process") -> AsyncGenerator[Letta]:
    """The Letta that answers behind this transport. Enter and leave it in the same task."""
    import httpx
    from letta_client import AsyncLetta

    async with httpx.AsyncClient(transport=transport, timeout=EVENT_SECONDS) as http:
        client = AsyncLetta(base_url="http://embedded", api_key=key, max_retries=0, http_client=http)
        yield Letta(client, kind="embedded")


@asynccontextmanager
async def open_server(address: str, *, key: str | None = None, embedding: str | None = None) -> AsyncGenerator[Letta]:
    """The Letta at that address: a Letta server, Letta Cloud, or an `atlas-mcp letta`. It is not called yet."""
    from letta_client import AsyncLetta

    kind = "cloud" if address.rstrip("/") == CLOUD else "server"
    async with AsyncLetta(base_url=address.rstrip("/"), api_key=key or "none", max_retries=0) as client:
        yield Letta(client, kind=kind, embedding=embedding)
