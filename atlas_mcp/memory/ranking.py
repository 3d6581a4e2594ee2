"""From what each part of a search found to hits: one order, without repetitions, each with the reasons it is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from atlas_mcp.memory.words import gist
from atlas_mcp.model.knowledge import Hit
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import TextClause, TextualSelect
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.scope import Scope
    from atlas_mcp.memory.words import Query

_LETTERS_SHARE = 0.5
_VECTORS_SHARE = 0.5
_GRAPH_SHARE = 0.25
_SUPERSEDED = 0.5
_HALF_LIFE_DAYS = 90.0
_MOST_DECAY = 0.2
_ROWS = "SELECT p.* FROM passage p WHERE p.id IN :numbers AND {scope}"
_OF_SOURCES = "SELECT p.id, p.source FROM passage p WHERE p.source IN :sources AND {scope}"
_LASTING = ("knowledge", "fact")
"""What somebody put there to be looked up does not fade."""


@dataclass
class Candidates:
    """What each part of a search found, by ids of passages, or of sources where they are related.

    `tells` is how much each word of the query counts; `looked_for` are those by which it was searched.
    """

    tells: Mapping[str, float]
    looked_for: Sequence[str] = ()
    words: Mapping[int, float] = field(default_factory=dict[int, float])
    letters: Mapping[int, float] = field(default_factory=dict[int, float])
    vectors: Mapping[int, float] = field(default_factory=dict[int, float])
    related: Mapping[str, float] = field(default_factory=dict[str, float])

    @property
    def unasked(self) -> float:
        """The share of what the query's words tell that was not looked for, as too many passages have it."""
        whole = sum(self.tells.values())
        return 1 - sum(self.tells[word] for word in self.looked_for) / whole if whole and self.looked_for else 0.0


async def ranked(
    db: AsyncConnection, scope: Scope, query: Query, found: Candidates, limit: int
) -> tuple[list[Hit], int]:
    """The hits, best first, and how many were left out because a better one says the same."""
    reasons = await _reasons(db, scope, found)
    if not reasons:
        return [], 0
    base = {number: _fused(why, found) for number, why in reasons.items()}
    chosen = sorted(base, key=lambda number: -base[number])[: 2 * limit + 12]
    rows = {row.id: row for row in await _rows(db, scope, chosen)}
    share = found.unasked
    scores: dict[int, float] = {}
    for number, row in rows.items():
        covered = query.covered(f"{row.title}\n{row.text}", found.tells) if share else 0.0
        scores[number] = ((1 - share) * base[number] + share * covered) * row.trust * _freshness(row, scope)
    await _put_new_before_old(db, scope, rows, scores, reasons)
    best = sorted(rows.values(), key=lambda row: (-scores[row.id], -row.id))
    kept, repeated = _without_repetitions(best, limit)
    told = zip(kept, _told(kept, scores, query), strict=True)
    return [_hit(row, score, reasons[row.id]) for row, score in told], repeated


async def _reasons(db: AsyncConnection, scope: Scope, found: Candidates) -> dict[int, dict[str, float]]:
    parts: dict[str, Mapping[int, float]] = {
        "words": found.words,
        "letters": found.letters,
        "vectors": found.vectors,
        "graph": await _of_sources(db, scope, found.related),
    }
    reasons: dict[int, dict[str, float]] = {}
    for name, scores in parts.items():
        best = max(scores.values(), default=0.0)
        for number, score in scores.items():
            reasons.setdefault(number, {})[name] = max(0.0, score / best) if best > 0 else 1.0
    return reasons


def _fused(why: Mapping[str, float], found: Candidates) -> float:
    """What the parts come to. Where only letters found anything they are all there is to go by."""
    lexical = why.get("words", 0.0) + (_LETTERS_SHARE if found.words else 1.0) * why.get("letters", 0.0)
    share = _VECTORS_SHARE if found.vectors else 0.0
    return (1 - share) * min(1.0, lexical) + share * why.get("vectors", 0.0) + _GRAPH_SHARE * why.get("graph", 0.0)


async def _of_sources(db: AsyncConnection, scope: Scope, related: Mapping[str, float]) -> dict[int, float]:
    if not related:
        return {}
    rows = await db.execute(scope.statement(_OF_SOURCES, "sources"), {**scope.values, "sources": list(related)})
    return {row.id: related[row.source] for row in rows}


async def _rows(db: AsyncConnection, scope: Scope, numbers: Sequence[int]) -> list[Any]:
    """The passages, of those that are looked through: whoever named them may not know what has changed since."""
    wanted = _typed(scope.statement(_ROWS, "numbers"))
    return list(await db.execute(wanted, {**scope.values, "numbers": list(numbers)}))


@lru_cache(maxsize=256)
def _typed(passages: TextClause) -> TextualSelect:
    return passages.columns(**{column.name: column.type for column in passage.c})


def _freshness(row: Any, scope: Scope) -> float:
    """1 for what was written or given to somebody just now, and never less than 0.8: nothing is lost by waiting."""
    if row.kind in _LASTING:
        return 1.0
    idle = max(0.0, (scope.now - max(row.at, row.used_at or row.at)).total_seconds() / 86_400)
    return 1 - _MOST_DECAY * (1 - 0.5 ** (idle / _HALF_LIFE_DAYS))


async def _put_new_before_old(
    db: AsyncConnection,
    scope: Scope,
    rows: dict[int, Any],
    scores: dict[int, float],
    reasons: dict[int, dict[str, float]],
) -> None:
    """Let what was superseded come after what took its place, which is found wherever the older one is."""
    old = {number: row.superseded_by for number, row in rows.items() if row.superseded_by}
    for _ in range(3):  # what took its place may have been superseded, too
        missing = set(old.values()) - {row.source for row in rows.values()}
        if not missing:
            break
        for number in await _of_sources(db, scope, dict.fromkeys(missing, 1.0)):
            row = (await _rows(db, scope, [number]))[0]
            rows[number], scores[number], reasons[number] = row, 0.0, {"supersedes": 1.0}
            if row.superseded_by:
                old[number] = row.superseded_by
    for number in sorted(old, key=lambda n: rows[n].at):
        heirs = [n for n, row in rows.items() if row.source == old[number]]
        for heir in heirs:
            scores[heir] = max(scores[heir], scores[number])
        scores[number] = _SUPERSEDED * min([scores[number], *(scores[heir] for heir in heirs)])


def _without_repetitions(rows: Sequence[Any], limit: int) -> tuple[list[Any], int]:
    kept: dict[str, Any] = {}
    repeated = 0
    for row in rows:
        if len(kept) == limit:
            break
        said = gist(row.text)
        if said in kept:
            repeated += 1
        else:
            kept[said] = row
    return list(kept.values()), repeated


def _told(rows: Sequence[Any], scores: Mapping[int, float], query: Query) -> list[float]:
    """The scores in the same proportions, the best one being as high as the share of the query in it makes it."""
    if not rows or scores[rows[0].id] <= 0:
        return [0.0 for _ in rows]
    best, first = rows[0], scores[rows[0].id]
    top = (1 + query.covered(f"{best.title}\n{best.text}")) / 2
    return [round(max(0.0, top * scores[row.id] / first), 4) for row in rows]


def _hit(row: Any, score: float, why: Mapping[str, float]) -> Hit:
    return Hit(
        id=f"{row.source}/{row.ordinal}",
        kind=row.kind,
        text=row.text.strip(),
        source=row.title,
        agent=row.author.removeprefix("agent:") if row.author.startswith("agent:") else None,
        author=row.author,
        score=score,
        when=row.at,
        trust=row.trust,
        superseded_by=row.superseded_by,
        why={name: round(share, 3) for name, share in why.items()},
    )
