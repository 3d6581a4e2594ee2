"""Connections to a Letta: in this process, or at an address. Whoever opens one says what kind it is.

The embedded Letta is reached by the same letta-client as any other; it is handed in as an httpx transport, so that this
room needs to know nothing of it. A server is asked what it is and can do before anything else is asked of it.
"""

from __future__ import annotations

import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import LettaUnavailable, UnknownModel
from atlas_mcp.letta.door import EVENT_SECONDS, Letta
from atlas_mcp.model.handles import find_handle
from atlas_mcp.model.server import server_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from typing import TypeVar

    import httpx

    from atlas_mcp.letta.breaker import Breaker
    from atlas_mcp.letta.states import Abilities
    from atlas_mcp.model.server import Server

    _T = TypeVar("_T")

START_SECONDS = 10.0
"""How long the first connection of a process waits for a server that is not there yet."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 2.0
_PREFERRED = "openai/text-embedding-3-small"
_BUILT_IN = "letta/letta-free"
log = logging.getLogger(__name__)


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

    server = server_at(address)
    async with AsyncLetta(base_url=server.base_url, api_key=key or "none", max_retries=0) as client:
        yield Letta(client, kind=server.kind, name=server.name, embedding=embedding)


@asynccontextmanager
async def connect(
    server: Server, breaker: Breaker, *, embedding: str | None = None, patience: float = START_SECONDS
) -> AsyncGenerator[Letta]:
    """The Letta of that server, found to be one that ATLAS can work with, behind its breaker.

    A server that is not reached is asked again and again, with growing pauses, for `patience` seconds in all. Raises
    LettaUnavailable after that, UnusableLetta for what a person must mend, and UnknownModel for an `embedding` that the
    server has not.
    """
    from letta_client import AsyncLetta

    from atlas_mcp.letta.breaker import BreakingClient
    from atlas_mcp.letta.probing import look

    async with BreakingClient(breaker, f"{server.base_url}/v1/health/") as http:
        abilities = await patiently(lambda: look(http, server), patience)
        key = server.api_key.get_secret_value() if server.api_key else "none"
        client = AsyncLetta(base_url=server.base_url, api_key=key, max_retries=0, http_client=http)
        archives = embedding_handle(abilities, embedding, server)
        log.info("connected to %s, version %s", server.shown, abilities.version)
        yield Letta(client, kind=server.kind, name=server.name, embedding=archives, abilities=abilities)


async def patiently(attempt: Callable[[], Awaitable[_T]], seconds: float) -> _T:
    """What the attempt gives, tried again with growing pauses while it raises LettaUnavailable, for so many seconds."""
    deadline, pause = anyio.current_time() + seconds, _FIRST_PAUSE
    while True:
        try:
            return await attempt()
        except LettaUnavailable:
            if anyio.current_time() + pause > deadline:
                raise
        await anyio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE)


def embedding_handle(abilities: Abilities, wanted: str | None, server: Server) -> str | None:
    """The server's handle for archives: what is wanted, else a usual one; None for a server that has none.

    UnknownModel when the server has not what is wanted.
    """
    have = abilities.embeddings
    if wanted:
        if found := find_handle(wanted, have):
            return found
        raise UnknownModel(
            f"{server.shown} has no embedding model {wanted!r}.",
            argument="LETTA_EMBEDDING_MODEL",
            allowed=have,
            next_step=f"It has: {', '.join(have) or 'none'}.",
        )
    usable = [handle for handle in have if handle != _BUILT_IN] or list(have)
    return _PREFERRED if _PREFERRED in usable else next(iter(usable), None)
