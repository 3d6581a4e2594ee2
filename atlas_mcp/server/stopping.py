"""A call that its caller cancels stops the run it has begun; one that is cut off otherwise leaves the run alone.

Promise: only what the protocol calls a cancellation is taken for one. That is `notifications/cancelled`, which clients
also send when their time is over; and in Streamable HTTP since 2026-07-28, which has no such message, a response stream
that the client closes before it has its answer. A host that closes the pipe, a session or an SSE stream that ends, and
this server being stopped cut calls off as well: then the run goes on, and is found by its id.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.direct_dispatcher import DIRECT_TRANSPORT_KIND
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from atlas_mcp.errors import UnknownRun

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from mcp.server.mcpserver import Context

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.caller import Caller

STOP_SECONDS = 20.0  # for the record may be busy; a server that ends does not wait for it (see `signals`)
_STREAMABLE_HTTP = "streamable-http"


@asynccontextmanager
async def stopped_with_call(
    atlas: Atlas, caller: Caller, ctx: Context[Any, Any]
) -> AsyncGenerator[Callable[[str], None]]:
    """Gives what is to be told the id of the run that the body begins; the run is stopped if its caller cancels."""
    begun: list[str] = []
    try:
        yield begun.append
    except anyio.get_cancelled_exc_class():
        with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_SECONDS):
            if begun and await cancelled_by_caller(ctx):
                await _stop(atlas, caller, begun[0])
        raise


async def cancelled_by_caller(ctx: Context[Any, Any]) -> bool:
    """Whether the call of this context, which is being cut off, was cancelled by whoever made it."""
    # The SDK keeps what it knows of the request in the session's channel for it, and shows it nowhere else.
    channel: Any = getattr(ctx.session, "_request_outbound", None)
    if channel is None:
        return False
    if channel.cancel_requested.is_set() or channel.transport.kind == DIRECT_TRANSPORT_KIND:
        return True  # without a wire between, the call is a part of its caller, who alone can cut it off
    request = ctx.request_context.request
    closing_cancels = (
        channel.transport.kind == _STREAMABLE_HTTP and ctx.session.protocol_version in MODERN_PROTOCOL_VERSIONS
    )
    return closing_cancels and request is not None and await request.is_disconnected()


async def _stop(atlas: Atlas, caller: Caller, run_id: str) -> None:
    try:
        await atlas.cancel_run(caller, run_id)
    except UnknownRun:
        return  # it was cut off before the run was stored, or after its outcome was handed over
