"""The rows that a run begins with, where its first piece of work can take them along.

Promise: they are stored in the transaction in which that work notes what it is about to do, before anything is done,
or at SOON_SECONDS, or as soon as anybody asks for the run, whichever is first; once. A run whose work is refused
before it began leaves nothing.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.errors import AtlasError
from atlas_mcp.runs import rows

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

    Store = Callable[[AsyncConnection], Awaitable[None]]

SOON_SECONDS = 0.05


class Opening:
    """What `store` writes of that new run of the caller `of`; `stored` is called once it is there."""

    def __init__(self, record: Record, run_id: str, of: str, store: Store, stored: Callable[[], None]) -> None:
        self._record = record
        self._run_id = run_id
        self._of = of
        self._store = store
        self._tell = stored
        self._once = anyio.Lock()
        self._doubtful = False
        self._dropped = False
        self.stored = False

    @asynccontextmanager
    async def riding(self) -> AsyncGenerator[Store]:
        """What to call in a transaction that the body makes; when the body is left well, that is committed."""
        async with self._once:
            try:
                yield _nothing if self.stored or self._dropped else self._store_new
            except anyio.get_cancelled_exc_class():
                self._doubtful = True  # a commit that is cancelled is made all the same
                raise
            self._done()

    async def now(self) -> None:
        """Store it, unless that is done, or will never be."""
        if self.stored or self._dropped:
            return
        async with self.riding() as store, self._record.jot(self._of) as db:
            await store(db)

    async def soon(self, enough: anyio.Event) -> None:
        """Store it if nobody has in a moment, and `enough` is not set by then.

        What keeps it from being stored is raised by whoever needs it next.
        """
        with anyio.move_on_after(SOON_SECONDS):
            await enough.wait()
        if not enough.is_set():
            with suppress(AtlasError):
                await self.now()

    async def drop(self) -> bool:
        """Let it never be stored; False if it is, or may be.

        Who was just storing it is waited for: else the run would be found later, as one that nobody executes.
        """
        async with self._once:
            self._dropped = not (self.stored or self._doubtful)
            return self._dropped

    async def _store_new(self, db: AsyncConnection) -> None:
        if not (self._doubtful and await rows.is_there(db, self._run_id)):
            await self._store(db)

    def _done(self) -> None:
        if not self.stored and not self._dropped:
            self.stored = True
            self._tell()


async def _nothing(db: AsyncConnection) -> None:
    """It is there already."""
