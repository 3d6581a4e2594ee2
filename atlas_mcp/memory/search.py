"""Search in the record: in shared documents and in what runs came to, by words.

How a passage is ranked: BM25 over words in all their forms, relative to the best match; to that is added half of the
same over three letters in a row, and a count of plain matches of shorter pieces, where the query is in a script that
puts no spaces between words, or where words alone find less than was asked for. The sum counts by the passage's trust.
How rare a word is, is judged over the whole record (on PostgreSQL: over what is looked through); what is found is the
caller's only.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, text

from atlas_mcp.memory import postgres_index
from atlas_mcp.model.knowledge import Hit
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.words import Query
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.knowledge import MemoryKind

_PARTS_SHARE = 0.5
_TITLE_WEIGHT = 0.5
_STEP = 10
_MOST_SCANNED = 200


@dataclass(frozen=True, slots=True)
class Scope:
    """Where to look: one caller's passages of one kind, narrowed to a project or an author if these are given."""

    caller: Caller
    kind: MemoryKind
    project: str | None = None
    author: str | None = None

    @property
    def condition(self) -> str:
        """The condition on a passage `p`."""
        more = [f" AND p.{name} = :{name}" for name in ("project", "author") if getattr(self, name) is not None]
        return "p.caller = :caller AND p.kind = :kind" + "".join(more)

    @property
    def values(self) -> dict[str, Any]:
        """The values that it names."""
        given = {"project": self.project, "author": self.author}
        return {"caller": self.caller.id, "kind": self.kind} | {k: v for k, v in given.items() if v is not None}


async def search(db: AsyncConnection, scope: Scope, query: Query, limit: int) -> list[Hit]:
    """The best passages of one kind, best first."""
    scores = _relative(await _by_words(db, scope, query, limit))
    if query.unspaced or len(scores) < limit:
        for more in (
            await _by_parts(db, scope, query, limit),
            await _by_scan(db, scope, query.short),
        ):
            for passage_id, score in _relative(more).items():
                scores[passage_id] = scores.get(passage_id, 0.0) + _PARTS_SHARE * score
    rows = await _rows(db, scope, scores)
    best = sorted(rows, key=lambda row: (-scores[row.id] * row.trust, -row.id))[:limit]
    return [_hit(row, score_at(place, query, f"{row.title}\n{row.text}")) for place, row in enumerate(best)]


def score_at(place: int, query: Query, content: str) -> float:
    """A score that compares hits of different kinds: from the place among its own kind (0 is the best), which weighs
    less the further down, and from the share of the query's words that stand in the text.
    """
    return round(_STEP / (_STEP + place) * (1 + query.covered(content)) / 2, 4)


async def _by_words(db: AsyncConnection, scope: Scope, query: Query, limit: int) -> dict[int, float]:
    if db.dialect.name == "postgresql":
        return await postgres_index.by_words(db, scope, query.words, limit, _TITLE_WEIGHT)
    return await _by_index(db, "passage_words", scope, query.match_words, limit)


async def _by_parts(db: AsyncConnection, scope: Scope, query: Query, limit: int) -> dict[int, float]:
    if db.dialect.name == "postgresql":
        return await postgres_index.by_parts(db, scope, query.grams, limit)
    return await _by_index(db, "passage_parts", scope, query.match_grams, limit)


async def _by_index(db: AsyncConnection, index: str, scope: Scope, match: str, limit: int) -> dict[int, float]:
    if not match:
        return {}
    rank = f"bm25({index}, {_TITLE_WEIGHT}, 1.0)"
    found = await db.execute(
        text(
            f"SELECT p.id, -{rank} FROM {index} JOIN passage p ON p.id = {index}.rowid"  # noqa: S608 - our own names
            f" WHERE {index} MATCH :match AND {scope.condition} ORDER BY {rank} * p.trust LIMIT :limit"
        ),
        {**scope.values, "match": match, "limit": limit},
    )
    return {row[0]: row[1] for row in found}


async def _by_scan(db: AsyncConnection, scope: Scope, pieces: Sequence[str]) -> dict[int, float]:
    """How many of the pieces stand in each of the caller's passages; too short for any index."""
    if not pieces:
        return {}
    values = {f"piece{n}": piece for n, piece in enumerate(pieces)}
    found_in = "strpos" if db.dialect.name == "postgresql" else "instr"
    whole = "p.title || '\n' || p.text"
    count = " + ".join(f"CASE WHEN {found_in}({whole}, :{name}) > 0 THEN 1 ELSE 0 END" for name in values)
    found = await db.execute(
        text(
            f"SELECT id, n FROM (SELECT p.id, {count} AS n FROM passage p WHERE {scope.condition}) AS counted"  # noqa: S608 - our own names
            " WHERE n > 0 ORDER BY n DESC, id DESC LIMIT :limit"
        ),
        {**scope.values, **values, "limit": _MOST_SCANNED},
    )
    return {row[0]: float(row[1]) for row in found}


def _relative(scores: dict[int, float]) -> dict[int, float]:
    best = max(scores.values(), default=0.0)
    return {one: score / best for one, score in scores.items()} if best > 0 else dict.fromkeys(scores, 1.0)


async def _rows(db: AsyncConnection, scope: Scope, scores: dict[int, float]) -> list[Any]:
    mine = (passage.c.caller == scope.caller.id, passage.c.id.in_(list(scores)))
    return list(await db.execute(select(passage).where(*mine))) if scores else []


def _hit(row: Any, score: float) -> Hit:
    return Hit(
        id=f"{row.source}/{row.ordinal}",
        kind=row.kind,
        text=row.text.strip(),
        source=row.title,
        agent=row.author.removeprefix("agent:") if row.author.startswith("agent:") else None,
        score=score,
        when=row.at,
        trust=row.trust,
    )
