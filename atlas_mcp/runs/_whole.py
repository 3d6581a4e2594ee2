"""Transactions on the record that no cancellation cuts in two.

Executors are cancelled in asyncio's own way (LangGraph and DBOS know no other), which anyio's shields do not hold off.
A transaction cut between its beginning and its end would leave the record locked for everybody, so each runs in a
task of its own, and a cancelled caller waits the millisecond until it is over.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import anyio

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

T = TypeVar("T")


async def write(record: Record, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` gives, done in one writing transaction: whole, or not at all if it raises."""

    async def transaction() -> T:
        async with record.write() as connection:
            return await work(connection)

    return await _whole(transaction())


async def read(record: Record, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
    """What `work` gives, read from one snapshot."""

    async def transaction() -> T:
        async with record.read() as connection:
            return await work(connection)

    return await _whole(transaction())


async def _whole(work: Coroutine[Any, Any, T]) -> T:
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    # The shield keeps anyio from delivering its cancellation again and again while we wait.
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                cancelled = error
    if cancelled is not None:
        # What the transaction raised is of no use to a cancelled caller, but must be looked at.
        _ = task.cancelled() or task.exception()
        raise cancelled
    return task.result()
