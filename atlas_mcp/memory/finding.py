"""A search by all means there are: words, vectors where an embedder works, and what the graph knows to be related.

Promise: what fails beside the record costs a moment, never the answer; and nothing that was forgotten is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

import anyio
from opentelemetry import trace

from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.ranking import Candidates
from atlas_mcp.memory.search import Found, Likeness, best_of, by_text
from atlas_mcp.memory.tombstones import without_forgotten

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    import numpy as np
    from numpy.typing import NDArray
    from opentelemetry.trace import Span
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.embedding import Query as Question
    from atlas_mcp.memory.scope import Scope
    from atlas_mcp.memory.uses import Uses
    from atlas_mcp.memory.words import Query
    from atlas_mcp.store.record import Record

_tracer = trace.get_tracer("atlas")
_FEWEST = 50
_RELATED = 20


class Questions(Protocol):
    """Makes vectors of questions: see `embedding.Embedding`."""

    @property
    def ranks(self) -> bool:
        """Whether the similarity of its vectors is worth ranking by."""
        ...

    async def query(self, text: str) -> Question | None:
        """The question's vector; None where there is none to be had in time."""
        ...


class Near(Protocol):
    """Finds the passages whose vectors are nearest: see `vectors.Vectors`."""

    async def nearest(
        self, scope: Scope, fingerprint: str, vector: NDArray[np.float32], limit: int
    ) -> list[tuple[int, float]]:
        """Passages of those looked through, with their cosine similarity, best first."""
        ...


@dataclass(frozen=True, slots=True)
class Finder:
    """Search in one record, for all callers. Who gives what was found to somebody notes it in `uses`."""

    record: Record
    questions: Questions | None = None
    vectors: Near | None = None
    uses: Uses | None = None

    async def find(self, scope: Scope, query: Query, limit: int) -> Found:
        """The best passages by all means, best first."""
        async with self.record.read() as db:
            candidates, near = await self._candidates(db, scope, query, limit)
            related = await self._related(db, scope, query) if "fact" in scope.kinds else {}
            found = await best_of(db, scope, query, limit, candidates, Likeness(near, related))
            return replace(found, hits=await without_forgotten(db, scope.caller, found.hits))

    async def _candidates(
        self, db: AsyncConnection, scope: Scope, query: Query, limit: int
    ) -> tuple[Candidates, dict[int, float]]:
        """What the text finds and what is near: another process compares vectors while this one looks for words."""
        if self.questions is None or self.vectors is None or not self.questions.ranks:
            return await _worded(db, scope, query, limit), {}
        near: dict[int, float] = {}
        found = Candidates({})

        async def compare(questions: Questions, vectors: Near) -> None:
            near.update(await _near(questions, vectors, scope, query, max(_FEWEST, 3 * limit)))

        try:
            async with anyio.create_task_group() as beside:
                beside.start_soon(compare, self.questions, self.vectors)
                found = await _worded(db, scope, query, limit)
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None  # one record is asked by both: it fails for the same reason
        return found, near

    async def _related(self, db: AsyncConnection, scope: Scope, query: Query) -> dict[str, float]:
        from atlas_mcp.memory.facts import Facts

        facts = Facts(scope.caller, self.record, scopes=scope.scopes or None)
        with _looking("related facts", "graph") as looking:
            found = {hit.fact.id: hit.score for hit in await facts.related(db, query.text, _RELATED)}
            looking.set_attribute("atlas.memory.hits", len(found))
            return found


async def _worded(db: AsyncConnection, scope: Scope, query: Query, limit: int) -> Candidates:
    with _looking("search words", db.dialect.name) as looking:
        found = await by_text(db, scope, query, limit)
        looking.set_attribute("atlas.memory.hits", len({*found.words, *found.letters}))
        return found


def _looking(what: str, store: str) -> AbstractContextManager[Span]:
    attributes = {"mlflow.spanType": "RETRIEVER", "atlas.memory.store": store}
    return _tracer.start_as_current_span(what, attributes=attributes)


async def _near(questions: Questions, vectors: Near, scope: Scope, query: Query, limit: int) -> dict[int, float]:
    try:
        with _tracer.start_as_current_span("embed the query", attributes={"mlflow.spanType": "EMBEDDING"}):
            asked = await questions.query(query.text)
        if asked is None:
            return {}
        with _looking("nearest vectors", "record") as looking:
            found = dict(await vectors.nearest(scope, *asked, limit))
            looking.set_attribute("atlas.memory.hits", len(found))
            return found
    except AtlasError:
        return {}  # the words answer; get_status tells of the embedder and of the vectors
