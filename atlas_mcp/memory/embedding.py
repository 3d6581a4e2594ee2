"""Vectors of what is remembered, made in the background, and of what is asked, made in time.

Promise: nobody waits for the vector of what they wrote. Of the processes that share a record one makes them; what it
had made when it is killed is there, and another goes on. A question is answered with vectors of one embedder only: the
one that is configured, once every passage has its vector; until then that which was complete before, if it can still be
opened; else none, and the words answer. An embedder that fails is left alone for a while, and never failed over.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import anyio

from atlas_mcp.errors import AtlasError, EmbedderFailed
from atlas_mcp.memory.embedders.opening import named, open_embedder, server
from atlas_mcp.memory.filling import Aside, fill, newest
from atlas_mcp.memory.fingerprints import Kept, delete_unused, keep, kept, look_up
from atlas_mcp.memory.hits import Hits

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from atlas_mcp.memory.embedders.contract import Embedder
    from atlas_mcp.model.stores import StoresConfig
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)
QUERY_SECONDS = 2.0
"""The longest that a question waits for its vector."""
START_SECONDS = 1.0
"""What made the memory open is served first: reading a model takes a while, and a command may be over by then."""
FIRST_PAUSE = 2.0
LONGEST_PAUSE = 300.0
LOOK_SECONDS = 1.0
"""How often it is looked whether something was written, at little cost."""
SEARCH_SECONDS = 60.0
"""How often the newest passages are gone through unasked: of two writers the first may have been done last."""
ALL_SECONDS = 600.0
"""How often all passages are gone through for one without a vector, which takes long where there are many."""
_NEWEST = 5_000
IN_USE_SECONDS = 3600.0
_REMEMBERED = 256


class Query(NamedTuple):
    """A question's vector, of length 1, to be compared with those of this fingerprint only."""

    fingerprint: str
    vector: NDArray[np.float32]


class Embedding:
    """One process's embedder; `work` runs as long as it is used.

    `problem` says why there are no vectors at this time, `refused` how many texts the embedder could not take.
    """

    def __init__(self, record: Record, locks: Locks, home: Path, config: StoresConfig) -> None:
        self.config = config
        self.home = home
        self.problem: str | None = None
        self.next_step: str | None = None
        self.aside = Aside()
        self.hits = Hits()
        self._record = record
        self._locks = locks
        self._own: Embedder | None = None
        self._before: Embedder | None = None
        self._complete = False
        self._breaker = _Breaker()
        self._serving = anyio.CancelScope()
        self._bell = anyio.Event()
        self._passed = anyio.Event()
        self._questions: OrderedDict[tuple[str, str], NDArray[np.float32]] = OrderedDict()

    @property
    def own(self) -> Embedder | None:
        """The embedder that is configured, once it is open and while it works."""
        return self._own

    @property
    def answering(self) -> Embedder | None:
        """The embedder that questions are embedded by at this time."""
        return self._own if self._complete else self._before

    @property
    def ranks(self) -> bool:
        """Whether the similarity of its vectors is worth ranking by."""
        embedder = self.answering or self._own  # which may be complete by now: the next question finds it out
        return embedder is not None and embedder.ranks

    async def query(self, text: str) -> Query | None:
        """The question's vector, within QUERY_SECONDS; None where there is none to be had."""
        await self._look_whether_complete()
        if (embedder := self.answering) is None or self._breaker.open:
            return None
        key = (embedder.fingerprint, text)
        self.hits.note(found=key in self._questions)
        if key not in self._questions:
            try:
                with anyio.fail_after(QUERY_SECONDS):
                    made = (await embedder.embed([text], query=True))[0]
            except TimeoutError:
                self._breaker.failed(f"it did not answer within {QUERY_SECONDS:g} s.")
                return None
            except EmbedderFailed as failure:
                self._breaker.failed(failure.message)
                if embedder is self._own and not failure.of_texts:
                    self._serving.cancel()  # it may be another than it was: it is opened anew
                return None
            self._breaker.worked()
            self._questions[key] = made
            if len(self._questions) > _REMEMBERED:
                self._questions.popitem(last=False)
        self._questions.move_to_end(key)
        return Query(embedder.fingerprint, self._questions[key])

    @property
    def trouble(self) -> str | None:
        """What keeps questions or passages from their vectors at this time."""
        return self.problem or self._breaker.reason

    async def settled(self) -> None:
        """Until every passage that is there now has its vector, or was put aside; for ever where no embedder works."""
        for _ in range(2):  # what goes on at this moment may have begun before
            self._bell.set()
            await self._passed.wait()

    async def work(self) -> None:
        """Open the embedder, and make vectors with it, until cancelled; what fails is tried again at growing pauses."""
        pause = FIRST_PAUSE
        await anyio.sleep(START_SECONDS)
        while True:
            wait, worked = 0.0, anyio.Event()
            try:
                async with open_embedder(self.config, self.home) as embedder:
                    await self._serve(embedder, worked)
            except AtlasError as failure:
                if failure.message != self.problem:
                    log.warning("no vectors are made: %s", failure)
                self.problem, self.next_step = failure.message, failure.next_step
                wait = (isinstance(failure, EmbedderFailed) and failure.retry_after) or 0.0
            except Exception:  # a fault of ours in what only helps to find must end nothing else
                log.exception("no vectors are made")
                self.problem, self.next_step = "a fault of ATLAS's own, which the log tells.", None
            finally:
                self._own, self._complete = None, False
            pause = FIRST_PAUSE if worked.is_set() else min(2 * pause, LONGEST_PAUSE)
            await anyio.sleep(max(pause, min(wait, LONGEST_PAUSE)))

    async def _serve(self, embedder: Embedder | None, worked: anyio.Event) -> None:
        """Make vectors with it until it fails, or a question found that it does."""
        if embedder is None:
            self.problem = None
            await anyio.sleep(LONGEST_PAUSE)  # then it is looked again whether there are files
            worked.set()
            return
        self._own, self.aside, self._breaker = embedder, Aside(), _Breaker()
        with anyio.CancelScope() as self._serving:
            async with self._one_before(embedder):
                mine = await self._begin(embedder)
                async with self._locks.hold(f"embedding-{mine.fingerprint}"):
                    await self._make(embedder, mine, worked)
        raise EmbedderFailed(self._breaker.reason or "it gave a question no vector.")

    async def _begin(self, embedder: Embedder) -> Kept:
        """Write that the embedder is in use; one that others were used after has to be complete anew."""
        async with self._record.read() as db:
            known = await kept(db)
        mine = self._described(embedder)
        if known and known[0].fingerprint == mine.fingerprint:
            mine = mine.model_copy(update={"complete": known[0].complete})
        await keep(self._record, mine)
        self._complete = mine.complete
        return mine

    async def _make(self, embedder: Embedder, mine: Kept, worked: anyio.Event) -> None:
        """Make what is missing, and what comes to be missing; this process alone does, with this embedder."""
        told, searched, reached = -IN_USE_SECONDS, -ALL_SECONDS, 0
        while True:
            self._bell = anyio.Event()
            async with self._record.look() as db:
                seen = await newest(db)
            if anyio.current_time() > searched + ALL_SECONDS:
                reached, searched = 0, anyio.current_time()
            last = seen[0] if seen else 0
            await fill(self._record, embedder, self.aside, after=min(reached, last) - _NEWEST)
            reached = last
            self.problem = self.next_step = None
            worked.set()
            async with self._record.look() as db:
                said = await look_up(db, mine.fingerprint)
            if said is None or not said.complete or anyio.current_time() > told + IN_USE_SECONDS:
                await keep(self._record, mine.model_copy(update={"complete": True}))
                await delete_unused(self._record)
                told = anyio.current_time()
            self._complete = True
            passed, self._passed = self._passed, anyio.Event()
            passed.set()
            await self._wait_for_news(seen)

    def _described(self, embedder: Embedder) -> Kept:
        name = named(self.config, self.home)
        return Kept(
            fingerprint=embedder.fingerprint,
            dimension=embedder.dimension,
            ranks=embedder.ranks,
            embedder=name,
            model=self.config.embedding_model or "",
            server=server(self.config),
        )

    async def _wait_for_news(self, seen: object) -> None:
        with anyio.move_on_after(SEARCH_SECONDS):
            while not self._bell.is_set():
                with anyio.move_on_after(LOOK_SECONDS):
                    await self._bell.wait()
                async with self._record.look() as db:
                    if await newest(db) != seen:
                        return

    async def _look_whether_complete(self) -> None:
        """Where another process makes the vectors, the record tells when they are complete."""
        if self._own is not None and not self._complete:
            async with self._record.look() as db:
                mine = await look_up(db, self._own.fingerprint)
            self._complete = mine is not None and mine.complete

    @asynccontextmanager
    async def _one_before(self, own: Embedder) -> AsyncGenerator[None]:
        """Have questions answered meanwhile by the embedder that was complete before, where it can still be opened."""
        async with self._record.read() as db:
            known = await kept(db)
        others = [one for one in known if one.fingerprint != own.fingerprint and one.complete and one.ranks]
        in_use = bool(known) and known[0].fingerprint == own.fingerprint and known[0].complete
        async with AsyncExitStack() as stack:
            if others and not in_use and (again := self._config_of(others[0])):
                try:
                    before = await stack.enter_async_context(open_embedder(again, self.home))
                except AtlasError as failure:
                    log.info("the embedder before cannot be opened: %s", failure)
                else:
                    self._before = before if before and before.fingerprint == others[0].fingerprint else None
            try:
                yield
            finally:
                self._before = None

    def _config_of(self, one: Kept) -> StoresConfig | None:
        """What opens that embedder; None for one of a server that is not configured any more."""
        again = self.config.model_copy(update={"embedder": one.embedder, "embedding_model": one.model or None})
        return again if server(again) == one.server else None


class _Breaker:
    """Lets questions be, for a growing while, after one that got no vector."""

    def __init__(self) -> None:
        self.reason: str | None = None
        self._pause = FIRST_PAUSE
        self._until = 0.0

    @property
    def open(self) -> bool:
        return anyio.current_time() < self._until

    def failed(self, reason: str) -> None:
        self.reason = reason
        if not self.open:  # several at once have failed as one
            self._until = anyio.current_time() + self._pause
            self._pause = min(2 * self._pause, LONGEST_PAUSE)

    def worked(self) -> None:
        self.reason, self._pause = None, FIRST_PAUSE
