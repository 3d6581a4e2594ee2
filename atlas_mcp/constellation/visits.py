"""Being at work in a constellation, so that nobody moves it away meanwhile.

Promise: whoever is inside finds the constellation where it was when it came in. One who moves a constellation says so
first, and then waits until everybody who came before is out; who comes after that is refused.
"""

from __future__ import annotations

import uuid
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.constellation.names import caller_hash
from atlas_mcp.errors import ConstellationMoving
from atlas_mcp.letta import placement

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

_PAUSE = 0.05
_inside: ContextVar[frozenset[str]] = ContextVar("atlas_visits", default=frozenset())


class Visits:
    """Visits to one caller's constellation on the Letta of that name."""

    def __init__(self, caller: Caller, server: str, record: Record, locks: Locks) -> None:
        self._caller = caller
        self._server = server
        self._record = record
        self._locks = locks

    @asynccontextmanager
    async def visit(self) -> AsyncGenerator[None]:
        """Be at work inside. ConstellationMoving while it is being moved, and once it is on another Letta."""
        if self._caller.id in _inside.get():
            yield
            return
        async with visiting(self._caller, self._locks):
            await self._check()
            yield

    async def _check(self) -> None:
        async with self._record.look() as db:
            placed = await placement.read(db, self._caller.id)
        if placed is None:
            return
        if placed.moving_to and self._locks.is_held(placement.moving_lock(self._caller.id)):
            raise ConstellationMoving(
                f"the constellation is being moved to {placed.moving_to}.", next_step="Try again in a moment."
            )
        if placed.server != self._server:
            raise ConstellationMoving(
                f"the constellation was moved to {placed.server} just now.", next_step="Ask again: it is found there."
            )


@asynccontextmanager
async def visiting(caller: Caller, locks: Locks) -> AsyncGenerator[None]:
    """Keep the caller's constellation from being moved; where it is must be looked up inside.

    One who moves it looks for visits after it has said so: what is looked up before may be gone.
    """
    held = locks.try_hold(f"{_prefix(caller)}{uuid.uuid4().hex}")
    if held is None:  # a name that nobody else has
        raise AssertionError("the lock of a visit is taken")
    with held:
        token = _inside.set(_inside.get() | {caller.id})
        try:
            yield
        finally:
            _inside.reset(token)


async def all_out(caller: Caller, locks: Locks) -> None:
    """Wait until nobody is at work in the caller's constellation any more."""
    while locks.any_beginning(_prefix(caller)):  # noqa: ASYNC110 - no event tells of other processes
        await anyio.sleep(_PAUSE)


def _prefix(caller: Caller) -> str:
    return f"visit-{caller_hash(caller)}-"
