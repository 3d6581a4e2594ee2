"""The nearest of what a caller has, by vectors: from Chroma where it can be asked, else exactly from the record.

Promise: a passage that was deleted, has expired or is another caller's is never given, and each is given with the
similarity of the vector that the record has of it now, whatever Chroma has. What Chroma was not told yet is compared
too. So with and without Chroma the answers are the same, but for what an approximate index misses.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from opentelemetry import trace

from atlas_mcp.memory.chroma.owner import Chroma
from atlas_mcp.memory.chroma.place import SETTING, place
from atlas_mcp.model.status import Room

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from atlas_mcp.memory.exact import ExactSearch
    from atlas_mcp.memory.scope import Scope
    from atlas_mcp.memory.vector_rows import Asked
    from atlas_mcp.model.stores import StoresConfig
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

_SPARE = 14
"""How many more than are wanted Chroma is asked for at first."""
_PROPOSED = 64
"""How many it is asked for at least where callers or filters may leave fewer: it knows of neither."""
_ROUNDING = 1e-5
_LATE = 1000
"""With more than so many changes on their way to Chroma, the record answers."""


class Vectors:
    """All vectors of a record; `work` at them runs as long as they are asked.

    `locks` are those of all who share the record. Raises ConfigurationError for an impossible ATLAS_CHROMA_URL.
    """

    def __init__(self, record: Record, locks: Locks, home: Path, config: StoresConfig) -> None:
        self._record = record
        self.chroma = Chroma(record, place(home, config.chroma_url), locks)
        self._exact: ExactSearch | None = None
        self._mixed: set[str] = set()

    async def work(self) -> None:
        """Keep Chroma fed, and ready where it can be, until this is cancelled; delays nobody."""
        await self.chroma.run()

    async def nearest(
        self, scope: Scope, fingerprint: str, vector: NDArray[np.float32], limit: int = 10
    ) -> list[tuple[int, float]]:
        """The passages looked through that are nearest to the vector, with their cosine similarity, best first.

        `vector` is of length 1 and made by the embedder of that fingerprint; what was embedded by others is not
        compared. Raises as `Record.read`; a Chroma that fails costs at most a second, once.
        """
        exact = self._exact or await self._made_exact()
        from atlas_mcp.memory.vector_rows import Asked

        asked = Asked(scope, fingerprint, vector, limit)
        if self.chroma.ready and (found := await self._proposed(asked)) is not None:
            trace.get_current_span().set_attribute("atlas.memory.store", "chroma")
            return found
        return await exact.nearest(asked)

    async def _made_exact(self) -> ExactSearch:
        # numpy takes a tenth of a second to be imported.
        await anyio.to_thread.run_sync(import_module, "atlas_mcp.memory.exact")
        from atlas_mcp.memory.exact import ExactSearch

        self._exact = self._exact or ExactSearch(self._record)
        return self._exact

    async def _proposed(self, asked: Asked) -> list[tuple[int, float]] | None:
        """Of what Chroma proposes, and of what it does not know yet; None where that may not be all."""
        from atlas_mcp.memory.vector_rows import among, waiting

        async with self._record.look() as db:
            late = await waiting(db, asked.fingerprint, _LATE)  # first: what is told meanwhile, Chroma knows
        if late is None:
            return None
        for most in self._rounds(asked):
            proposed = await self.chroma.nearest(asked.fingerprint, asked.vector, most)
            if proposed is None or len(proposed) < most:
                return None  # so few are quicker compared than doubted
            async with self._record.look() as db:
                found = await among(db, asked, {number for number, _ in proposed} | late)
            # What was not proposed is further away than all that was: only what is nearer than that is surely best.
            surely = [pair for pair in found if pair[1] >= proposed[-1][1] - _ROUNDING]
            few = proposed[: asked.limit + _SPARE][-1][1]
            if len(surely) >= asked.limit and surely[asked.limit - 1][1] >= few:
                self._mixed.discard(asked.caller)
            else:
                self._mixed.add(asked.caller)
            if len(surely) >= asked.limit:
                return surely[: asked.limit]
        return None

    def _rounds(self, asked: Asked) -> tuple[int, ...]:
        """How many to ask Chroma for: a few will do, but for one whose last question found others' between."""
        few, many = asked.limit + _SPARE, max(_PROPOSED, 4 * asked.limit)
        return (many,) if asked.caller in self._mixed or few >= many else (few, many)

    async def renew(self, seconds: float) -> bool:
        """Have Chroma made anew, so that nothing deleted is left in its files; whether that was begun in that time.

        Whichever process keeps Chroma does it, now or when one does; the record answers meanwhile. A server is told to
        delete its collections: what stays on its own disk is its keeper's affair.
        """
        from sqlalchemy import insert, select

        from atlas_mcp.memory.vector_rows import RENEW, TOPIC
        from atlas_mcp.store.memory_tables import outbox

        async with self._record.write("outbox") as db:
            await db.execute(insert(outbox).values(topic=TOPIC, item=RENEW))
        with anyio.move_on_after(seconds):
            while True:
                async with self._record.look() as db:
                    if (await db.execute(select(outbox.c.seq).where(outbox.c.item == RENEW).limit(1))).first() is None:
                        return True
                await anyio.sleep(0.1)
        return False

    def room(self) -> Room:
        """How it is, for `get_status`."""
        chroma, name = self.chroma, "vectors"
        match chroma.stage:
            case "ready":
                text = f"Chroma {chroma.place.shown}."
                if chroma.refused:
                    text += f" It refused {chroma.refused} vectors; words find these texts."
                return Room(name=name, health="ok", text=text)
            case "failing":
                return Room(
                    name=name,
                    health="warning",
                    text=f"Chroma {chroma.place.shown} cannot be used, the record answers: {chroma.problem}",
                    next_step=f"It is tried again by itself. See logs/chroma.log, or mend {SETTING}.",
                )
            case "opening" | "feeding":
                done, of = chroma.progress
                told = f": {done:,} of {of:,}" if of else ""
                return Room(name=name, health="ok", text=f"Chroma is being filled{told}; the record answers meanwhile.")
            case "other":
                text = "Another process of this home keeps Chroma; the record answers here."
                return Room(name=name, health="ok", text=text)
            case "none":
                text = f"In the record alone, compared one by one. For many, set {SETTING} to a Chroma server."
                return Room(name=name, health="ok", text=text)
            case "idle":
                return Room(name=name, health="idle", text="There are no vectors; Chroma starts with the first.")
