"""The calls of tools that a server is about to answer, for who ends it: it waits for the answers, and not for long."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

if TYPE_CHECKING:
    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext


class UnderWay:
    """The middleware of one server that counts them."""

    def __init__(self) -> None:
        self._calls = 0
        self._none = anyio.Event()

    async def __call__(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Let the request go on."""
        if ctx.method != "tools/call":  # who listens, listens for ever
            return await call_next(ctx)
        self._calls += 1
        try:
            return await call_next(ctx)
        finally:
            self._calls -= 1
            if not self._calls:
                self._none.set()

    async def over(self) -> None:
        """Return when there is none."""
        while self._calls:
            self._none = anyio.Event()
            await self._none.wait()
