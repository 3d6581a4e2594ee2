"""Chroma in one of the processes of a home: who feeds it, how it comes back, and when it may be asked.

One process at a time feeds Chroma, under a lock that is freed when it ends in whatever way; the others look every
second whether it is. With files in the home that process alone asks Chroma; a server is asked by all. Chroma is asked
only after it was looked at and has all vectors, and no more from its first failure on until it answers again.

On PostgreSQL, which several homes share, no home's files could be fed: without a server there is no Chroma.
"""

from __future__ import annotations

import logging
from contextlib import ExitStack
from importlib import import_module
from typing import TYPE_CHECKING, Literal

import anyio
import anyio.to_thread
from sqlalchemy import select

from atlas_mcp.errors import Unavailable
from atlas_mcp.memory.chroma.place import Place
from atlas_mcp.memory.chroma.process import ChromaFailed, started
from atlas_mcp.memory.chroma.state import State, read_state, write_state
from atlas_mcp.store.memory_tables import outbox, vector

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from atlas_mcp.memory.chroma.collection import ChromaVectors
    from atlas_mcp.memory.chroma.process import ChromaProcess
    from atlas_mcp.store.locks import Held, Locks
    from atlas_mcp.store.record import Record

LOCK = "chroma"
Stage = Literal["idle", "none", "other", "opening", "feeding", "ready", "failing"]

_LOOK_SECONDS = 1.0
_TIDY_SECONDS = 5.0
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_SOUND_SECONDS = 30.0
"""Who worked for so long has not failed at its start."""
_CRASHES = 2
"""So many failures soon after it was opened, in a row, and what it has is not trusted any more."""
log = logging.getLogger(__name__)


class _RenewalWanted(Exception):
    """Raised when the outbox asks for a copy made anew."""


class Chroma:
    """Chroma as this process has it; `run` works at it until it is cancelled."""

    def __init__(self, record: Record, place: Place, locks: Locks) -> None:
        self._record = record
        self.place = place
        self._locks = locks
        self._vectors: ChromaVectors | None = None
        self._doubted = anyio.Event()
        self._crashes = 0
        self._was_open = False
        self.stage: Stage = "idle"
        self.progress = (0, 0)
        self.problem = ""
        self.refused = 0
        self.rebuilt = 0
        """How often the files were not trusted any more, and filled anew."""
        self.pid: int | None = None

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return self._vectors is not None

    @property
    def asked(self) -> ChromaVectors | None:
        """Its vectors, as long as it is ready: for whoever compares them with the record's."""
        return self._vectors

    async def nearest(self, fingerprint: str, query: NDArray[np.float32], most: int) -> list[tuple[int, float]] | None:
        """The nearest passages, whosever they are, with their similarity; None where the record must answer."""
        if self._vectors is None:
            return None
        try:
            return (await self._vectors.nearest(fingerprint, query[None], most))[0]
        except ChromaFailed as failure:
            log.warning("Chroma failed a search, which the record answers: %s", failure)
            self._vectors = None
            self.stage, self.problem = "failing", str(failure)
            self._doubted.set()
            return None

    async def run(self) -> None:
        """Have Chroma fed and ready, whatever becomes of it, from the first vector on."""
        pause = _FIRST_PAUSE
        while True:
            self._was_open = False
            began = anyio.current_time()
            try:
                await self._until_needed()
                began = anyio.current_time()
                await (self._with_files() if self.place.url is None else self._with_server())
            except _RenewalWanted:
                self._crashes, pause = 0, _FIRST_PAUSE
                continue
            except Unavailable as failure:
                self._failed(failure)
            except Exception as failure:  # the record answers without Chroma: nothing here may end the house
                log.exception("Chroma cannot be kept")
                self._failed(failure)
            finally:
                self._vectors, self.pid = None, None
            if anyio.current_time() > began + _SOUND_SECONDS:
                self._crashes, pause = 0, _FIRST_PAUSE
            await anyio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _failed(self, failure: Exception) -> None:
        if self._was_open and isinstance(failure, ChromaFailed):
            self._crashes += 1
        self.stage, self.problem = "failing", str(failure)
        log.warning("Chroma is left for a while: %s", failure)

    async def _until_needed(self) -> None:
        while True:
            if self._record.database is not None and self.place.url is None:
                await self._nobody_to_tell()
                continue
            async with self._record.look() as db:
                some = (await db.execute(select(vector.c.passage).limit(1))).first()
                told = (await db.execute(select(outbox.c.seq).where(outbox.c.topic == "vector").limit(1))).first()
            if some or told:
                # Who has vectors has loaded numpy; it is no matter for the event loop where this process has none yet.
                await anyio.to_thread.run_sync(import_module, "atlas_mcp.memory.chroma.feeding")
                return
            self.stage = "idle"
            await anyio.sleep(_LOOK_SECONDS)

    async def _nobody_to_tell(self) -> None:
        from atlas_mcp.memory.chroma.feeding import forget_outbox

        self.stage = "none"
        if not self._locks.is_held(LOCK):  # another machine may have a server configured, and feed it
            await forget_outbox(self._record)
        await anyio.sleep(_TIDY_SECONDS)

    async def _with_files(self) -> None:
        while (held := self._locks.try_hold(LOCK)) is None:
            self.stage = "other"
            await anyio.sleep(_LOOK_SECONDS)
        with _relied_on(held):
            self.stage = "opening"
            state = await self._state()
            anew = await self._renewal_wanted(state) or self._crashes >= _CRASHES
            async with started(self.place.home) as process:
                vectors, mark, there = await self._opened(process, "", anew=anew)
                self.rebuilt += mark == "checking"
                await self._feed(process, vectors, there, anew=anew, thoroughly=mark != "clean")

    async def _with_server(self) -> None:
        self.stage = "opening"
        state = await self._state()
        async with started(self.place.home) as process:
            vectors, _, there = await self._opened(process, state.suffix)
            while (held := self._locks.try_hold(LOCK)) is None:
                state = await self._state()
                fed = state.whole and state.place == self.place.name
                self.stage, self._vectors = ("ready", vectors) if fed else ("other", None)
                await self._watch(process, vectors)
            with _relied_on(held):
                self._vectors = None
                state = await self._state()
                anew = await self._renewal_wanted(state) or self._crashes >= _CRASHES
                for name in there if anew else ():
                    await vectors.drop(name)
                await self._feed(process, vectors, there, anew=anew, thoroughly=True)

    async def _opened(
        self, process: ChromaProcess, suffix: str, *, anew: bool = False
    ) -> tuple[ChromaVectors, str, list[str]]:
        from atlas_mcp.memory.chroma.collection import ChromaVectors

        self.pid = process.pid
        vectors = ChromaVectors(process)
        mark, there = await vectors.open(str(self.place.home), self.place.url, suffix, anew=anew)
        self._was_open = True
        return vectors, mark, there

    async def _feed(
        self, process: ChromaProcess, vectors: ChromaVectors, there: list[str], *, anew: bool, thoroughly: bool
    ) -> None:
        from atlas_mcp.memory.chroma.feeding import drain, examine, forget_outbox, make_whole

        self.stage = "feeding"
        await self._note(whole=False)
        if anew:
            await forget_outbox(self._record, only_renewals=True)
        await examine(self._record, vectors, thoroughly=thoroughly)
        await vectors.checked()
        async for step in make_whole(self._record, vectors, there):
            self.progress = step
        await vectors.whole()
        await self._note(whole=True)
        await self._judge(vectors)
        while True:
            told = await drain(self._record, vectors)
            self.refused += len(told.refused)
            if told.renew:
                raise _RenewalWanted
            if not told.items or self._doubted.is_set():
                await self._watch(process, vectors)

    async def _watch(self, process: ChromaProcess, vectors: ChromaVectors) -> None:
        """Wait a little, then see to it if a search failed. ChromaFailed if it ended or hangs."""
        with anyio.move_on_after(_LOOK_SECONDS):
            await self._doubted.wait()
        if process.ended.is_set():
            raise ChromaFailed("the Chroma process ended unexpectedly.")
        if self._doubted.is_set():
            await self._judge(vectors)

    async def _judge(self, vectors: ChromaVectors) -> None:
        """Have it asked if it answers in the time that a search has. A slow one is left alone for a moment, not ended:
        the machine may be busy. ChromaFailed if it hangs.
        """
        from atlas_mcp.memory.chroma.collection import HANG_SECONDS, QUERY_SECONDS
        from atlas_mcp.memory.vector_rows import fingerprints, some_block

        async with self._record.read() as db:
            found = [(name, await some_block(db, name)) for name in await fingerprints(db)]
        slowest = 0.0
        for name, block in ((name, block) for name, block in found if len(block.ids)):
            began = anyio.current_time()
            await vectors.nearest(name, block.matrix, 1, seconds=HANG_SECONDS)
            slowest = max(slowest, anyio.current_time() - began)
        self._doubted = anyio.Event()
        if slowest < QUERY_SECONDS:
            self.stage, self.problem, self._vectors = "ready", "", vectors
        else:
            self.stage, self.problem = "failing", f"it takes {slowest:.1f} s for a search."
            await anyio.sleep(_LOOK_SECONDS)
            self._doubted.set()

    async def _renewal_wanted(self, state: State) -> bool:
        if state.place not in ("", self.place.name):
            return True  # the outbox was read for another Chroma meanwhile
        from atlas_mcp.memory.vector_rows import RENEW

        async with self._record.look() as db:
            return (await db.execute(select(outbox.c.seq).where(outbox.c.item == RENEW).limit(1))).first() is not None

    async def _state(self) -> State:
        return await read_state(self._record)

    async def _note(self, *, whole: bool) -> None:
        await write_state(self._record, self.place.name, whole=whole)


def _relied_on(held: Held) -> ExitStack:
    """The lock, until the block is left or it is lost."""
    stack = ExitStack()
    stack.enter_context(held)
    stack.enter_context(held.kept())
    return stack
