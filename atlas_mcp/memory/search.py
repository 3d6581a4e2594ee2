"""Search in the record: in all that is kept as passages, by words, by letters, by likeness and by what is related.

How a passage is ranked: BM25 over the telling words in all their forms; where the query is in a script that puts no
spaces between words, by pairs of letters; where words find too little, by those that are parts of others. Each part is
taken relative to its best. Where there are vectors worth ranking by, half of the score is the similarity; what the
graph knows to be related adds a quarter. The sum counts by the passage's trust, and a little less the longer nobody was
given it. How rare a word is, is judged over the whole record; what is found is the caller's only.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from atlas_mcp.memory import postgres_index, rarity, sqlite_index
from atlas_mcp.memory.ranking import Candidates, ranked
from atlas_mcp.memory.scope import Scope

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.words import Query
    from atlas_mcp.model.knowledge import Hit

__all__ = ["Found", "Likeness", "Scope", "find", "score_at", "search"]

_STEP = 10
_FEWEST = 40
"""So many candidates are looked at however few are asked for: some repeat others, or are superseded."""


@dataclass(frozen=True, slots=True)
class Likeness:
    """What was found by other means than words: similarities of passages by their ids, best first, and relatedness of
    sources (memories, facts, documents) by theirs, each 0 to 1.
    """

    vectors: Mapping[int, float] = field(default_factory=dict[int, float])
    related: Mapping[str, float] = field(default_factory=dict[str, float])


@dataclass(frozen=True, slots=True)
class Found:
    """The hits, best first, and how many were left out because another said the same."""

    hits: list[Hit]
    repeated: int = 0


async def search(db: AsyncConnection, scope: Scope, query: Query, limit: int) -> list[Hit]:
    """The best passages by words and letters, best first."""
    return (await find(db, scope, query, limit)).hits


async def find(db: AsyncConnection, scope: Scope, query: Query, limit: int, likeness: Likeness | None = None) -> Found:
    """The best passages by all that is known of their likeness."""
    return await best_of(db, scope, query, limit, await by_text(db, scope, query, limit), likeness or Likeness())


async def best_of(
    db: AsyncConnection, scope: Scope, query: Query, limit: int, candidates: Candidates, likeness: Likeness
) -> Found:
    """The best of what was found by words and letters and by other means."""
    candidates.vectors, candidates.related = likeness.vectors, likeness.related
    return Found(*await ranked(db, scope, query, candidates, limit))


async def by_text(db: AsyncConnection, scope: Scope, query: Query, limit: int) -> Candidates:
    """What words and letters find, not ranked among each other yet."""
    size, index = max(_FEWEST, 3 * limit), _index(db)
    counted = await index.counts(db, query.spaced)
    passages = await rarity.passages(db, partial(index.size, db))
    tells = rarity.weights(counted.of, passages)
    candidates = Candidates(tells)
    for words, frequent in rarity.choices(counted):
        if frequent and candidates.words:
            break
        if frequent and (newest := await index.newest(db, scope, words, size)):
            candidates.words = newest
            break
        candidates.looked_for = words
        candidates.words = await index.by_words(db, scope, words, size, tells, counted)
        if len(candidates.words) >= limit:
            break
    if query.pieces:
        candidates.letters = await index.by_pieces(db, scope, query.pieces, passages, size)
    elif len(candidates.words) < limit:
        rare = [word for word in query.spaced if counted.of[word] < limit]
        parts = await index.by_parts(db, scope, rare, size)
        candidates.letters = {number: score for number, score in parts.items() if number not in candidates.words}
    return candidates


def score_at(place: int, query: Query, content: str) -> float:
    """A score that compares hits of different kinds: from the place among its own kind (0 is the best), which weighs
    less the further down, and from the share of the query's words that stand in the text.
    """
    return round(_STEP / (_STEP + place) * (1 + query.covered(content)) / 2, 4)


def _index(db: AsyncConnection) -> Any:
    return postgres_index if db.dialect.name == "postgresql" else sqlite_index
