"""What a waiting client sees: each event as it happens, and a sign of life at least every ten seconds.

The progress number only ever grows: it counts the messages. A client that asked for no progress gets none, and one
that went away never disturbs the work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import anyio

from atlas_mcp.server.narration import Narration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.mcpserver import Context

    from atlas_mcp.model.run import Event, Run

HEARTBEAT_SECONDS = 8.0

T = TypeVar("T")


class Narrator:
    """Tells one waiting client what happens."""

    def __init__(self, ctx: Context[Any, Any], first: str) -> None:
        self._ctx = ctx
        self._text = first
        self._narration = Narration()
        self._count = 0
        self._started = anyio.current_time()
        self._told_at = self._started

    async def on_event(self, event: Event) -> None:
        """Pass the event on, in words."""
        self._text = event.text
        await self._tell(self._text)

    async def on_news(self, run: Run) -> None:
        """Pass the run's new events on, in words, with how far it is and what it has cost."""
        for line in self._narration.lines(run):
            self._text = line
            await self._tell(line)

    async def beat(self) -> None:
        """Give signs of life until cancelled."""
        while True:
            quiet = anyio.current_time() - self._told_at
            if quiet < HEARTBEAT_SECONDS:
                await anyio.sleep(HEARTBEAT_SECONDS - quiet)
                continue
            elapsed = anyio.current_time() - self._started
            await self._tell(f"{self._text} (still working, {elapsed:.0f} s)")

    async def _tell(self, text: str) -> None:
        self._count += 1
        self._told_at = anyio.current_time()
        try:
            await self._ctx.report_progress(self._count, None, text)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            return  # the client is gone; the work does not depend on it


async def narrated(ctx: Context[Any, Any], first: str, work: Callable[[Narrator], Awaitable[T]]) -> T:
    """What `work` gives, while the client is told what happens; `first` is what it hears before anything does."""
    narrator = Narrator(ctx, first)
    results: list[T] = []
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(narrator.beat)
            results.append(await work(narrator))
            group.cancel_scope.cancel()
    except ExceptionGroup as failures:
        raise failures.exceptions[0]  # noqa: B904  # only the work fails: its own error, as it was raised
    return results[0]
