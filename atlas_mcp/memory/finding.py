"""A search by all means there are: words, vectors where an embedder works, and what the graph knows to be related.

Promise: what fails beside the record costs a moment, never the answer; and nothing that was forgotten is given.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.search import Found, Likeness, find
from atlas_mcp.memory.tombstones import without_forgotten
from atlas_mcp.memory.vector_filter import VectorFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.embedding import Query as Question
    from atlas_mcp.memory.scope import Scope
    from atlas_mcp.memory.uses import Uses
    from atlas_mcp.memory.words import Query
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

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
        self, caller: Caller, fingerprint: str, vector: NDArray[np.float32], wanted: VectorFilter, limit: int
    ) -> list[tuple[int, float]]:
        """Passages of the caller's with their cosine similarity, best first."""
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
        near = await self._near(scope, query, max(_FEWEST, 3 * limit))
        async with self.record.read() as db:
            related = await self._related(db, scope, query) if "fact" in scope.kinds else {}
            found = await find(db, scope, query, limit, Likeness(near, related))
            return replace(found, hits=await without_forgotten(db, scope.caller, found.hits))

    async def _near(self, scope: Scope, query: Query, limit: int) -> dict[int, float]:
        if self.questions is None or self.vectors is None or not self.questions.ranks:
            return {}
        wanted = VectorFilter(
            kinds=scope.kinds,
            scopes=scope.scopes or None,
            project=scope.project,
            author=scope.author,
            since=scope.since,
            until=scope.until,
            min_trust=scope.min_trust or None,
        )
        try:
            asked = await self.questions.query(query.text)
            if asked is None:
                return {}
            return dict(await self.vectors.nearest(scope.caller, *asked, wanted, limit))
        except AtlasError:
            return {}  # the words answer; get_status tells of the embedder and of the vectors

    async def _related(self, db: AsyncConnection, scope: Scope, query: Query) -> dict[str, float]:
        from atlas_mcp.memory.facts import Facts

        facts = Facts(scope.caller, self.record, scopes=scope.scopes or None)
        return {hit.fact.id: hit.score for hit in await facts.related(db, query.text, _RELATED)}
