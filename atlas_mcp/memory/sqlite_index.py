"""The two full-text indexes of a record in a file: of words in all their forms, and of letters in a row.

`passage_words` ranks by BM25. `passage_parts` has every three letters in a row, and two line ends behind each text: so
whatever is shorter, or stands at an end, begins some three letters, and the list of these leads to its passages.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from atlas_mcp.memory import rarity
from atlas_mcp.memory.rarity import Counted

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.scope import Scope

TITLE_WEIGHT = 0.5
_ENOUGH_PLACES = 1_000
_COUNTED = 5_000
_BEST_OF_ALL = 200
_NEWEST_OF_ALL = 2_000
_HIGHEST = "\U0010ffff"

_COUNT = text(
    "SELECT j.key, (SELECT count(*) FROM (SELECT 1 FROM passage_words WHERE passage_words MATCH j.value LIMIT :most))"
    " FROM json_each(:matches) AS j"
)
_RANKED = (
    "SELECT p.id, -{rank} FROM {index} CROSS JOIN passage p ON p.id = {index}.rowid"
    " WHERE {index} MATCH :match AND {scope} ORDER BY {rank} * p.trust LIMIT :limit"
)
_BEST = (
    "SELECT p.id, best.score FROM (SELECT rowid AS number, -{rank} AS score FROM {index} WHERE {index} MATCH :match"
    " ORDER BY {rank} LIMIT :most) AS best LEFT JOIN passage p ON p.id = best.number AND {scope}"
)
_NEWEST = (
    "SELECT p.id, 1.0 FROM (SELECT rowid AS number FROM passage_words WHERE passage_words MATCH :match"
    " ORDER BY rowid DESC LIMIT :most) AS newest CROSS JOIN passage p ON p.id = newest.number WHERE {scope}"
    " LIMIT :limit"
)
_PLACES = "SELECT {n} AS n, doc FROM (SELECT DISTINCT doc FROM passage_parts_places WHERE {range} LIMIT :most)"
_LENGTHS = "SELECT p.id, length(p.text) FROM json_each(:ids) AS j CROSS JOIN passage p ON p.id = j.value WHERE {scope}"


async def counts(db: AsyncConnection, words: Sequence[str]) -> Counted:
    """How many passages of the record have each of the words, in whatever form."""

    async def count(unknown: Sequence[str]) -> Mapping[str, int]:
        matches = json.dumps([_any_of([word]) for word in unknown])
        rows = list(await db.execute(_COUNT, {"matches": matches, "most": _COUNTED + 1}))
        return {word: int(n) for word, n in zip(unknown, (row[1] for row in sorted(rows)), strict=True)}

    return Counted(await rarity.rarities(db, "words", words, count) if words else {}, _COUNTED)


async def by_words(
    db: AsyncConnection, scope: Scope, words: Sequence[str], limit: int, _tells: Mapping[str, float], _counted: Counted
) -> dict[int, float]:
    """The passages that have any of the words, best first, with their ranks; the index knows how much each tells."""
    return await _ranked(db, "passage_words", scope, words, limit)


async def newest(db: AsyncConnection, scope: Scope, words: Sequence[str], limit: int) -> dict[int, float]:
    """Of the newest passages those that have all of the words, which are in so many that no rank tells them apart."""
    match = " AND ".join(f'"{word}"' for word in words)
    values = {**scope.values, "match": match, "most": _NEWEST_OF_ALL, "limit": limit}
    return {row[0]: row[1] for row in await db.execute(scope.statement(_NEWEST), values)}


async def by_parts(db: AsyncConnection, scope: Scope, parts: Sequence[str], limit: int) -> dict[int, float]:
    """The passages in which any of these, of three letters at least, stands anywhere in a word."""
    return await _ranked(db, "passage_parts", scope, [part for part in parts if len(part) >= 3], limit)


async def by_pieces(
    db: AsyncConnection, scope: Scope, pieces: Sequence[str], passages: int, limit: int
) -> dict[int, float]:
    """The passages in which any of these, of one or two letters, stands; the rarer a piece, the more it counts."""
    for most in (_ENOUGH_PLACES, -1):
        places = await _places(db, pieces, most)
        tells = {n: math.log(1 + passages / len(docs)) for n, docs in places.items() if most < 0 or len(docs) < most}
        sums: dict[int, float] = {}
        for n, weight in tells.items():
            for doc in places[n]:
                sums[doc] = sums.get(doc, 0.0) + weight
        if found := await _of_scope(db, scope, sums, limit):
            return found
    return {}


async def size(db: AsyncConnection) -> int:
    """About how many passages the record has."""
    return (await db.execute(text("SELECT max(id) FROM passage"))).scalar() or 0


async def _ranked(db: AsyncConnection, index: str, scope: Scope, words: Sequence[str], limit: int) -> dict[int, float]:
    if not words:
        return {}
    rank = f"bm25({index}, {TITLE_WEIGHT}, 1.0)"
    values = {**scope.values, "match": _any_of(words), "limit": limit, "most": _BEST_OF_ALL}

    async def rows(sql: str) -> list[Any]:
        query = scope.statement(sql.replace("{rank}", rank).replace("{index}", index))
        return list(await db.execute(query, values))

    if not scope.narrow:  # reading the row of every match takes twice as long as ranking them
        best = await rows(_BEST)
        found = {row[0]: row[1] for row in best if row[0] is not None}
        if len(best) < _BEST_OF_ALL or len(found) >= limit:
            return found
    return {row[0]: row[1] for row in await rows(_RANKED)}


async def _places(db: AsyncConnection, pieces: Sequence[str], most: int) -> dict[int, list[int]]:
    parts: list[str] = []
    values: dict[str, Any] = {"most": most}
    for n, piece in enumerate(pieces):
        parts.append(_PLACES.format(n=n, range=f"term >= :from{n} AND term < :to{n}"))
        values |= {f"from{n}": piece, f"to{n}": piece + _HIGHEST}
    places: dict[int, list[int]] = {}
    for n, doc in await db.execute(text(" UNION ALL ".join(parts)), values):
        places.setdefault(n, []).append(doc)
    return places


async def _of_scope(db: AsyncConnection, scope: Scope, sums: Mapping[int, float], limit: int) -> dict[int, float]:
    """Those of them that are looked through; of two that have the same, the shorter counts more."""
    if not sums:
        return {}
    rows = await db.execute(scope.statement(_LENGTHS), {**scope.values, "ids": json.dumps(list(sums))})
    lengths = {row[0]: row[1] for row in rows}
    ranked = rarity.by_length({number: sums[number] for number in lengths}, lengths)
    return dict(sorted(ranked.items(), key=lambda one: -one[1])[:limit])


def _any_of(words: Sequence[str]) -> str:
    return " OR ".join(f'"{word}"' for word in words)
