"""LangGraph's work in a task of its own, so that cancelling it reaches all of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


async def in_own_task(work: Coroutine[Any, Any, T]) -> T:
    """Run the work in an asyncio task of its own, and take it along when cancelled.

    LangGraph's workers are asyncio tasks: the cancellation of an anyio scope around them ends the call and leaves them
    running. Cancelling the task reaches them, and we wait until they are gone.
    """
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        task.cancel()
        with anyio.CancelScope(shield=True):
            await asyncio.wait({task})
        raise
