"""The index of passages on PostgreSQL, with what SQLite's two full-text indexes do there.

Words are kept with their places, in the forms that `passage_forms` gives them (Porter's, as in SQLite); so are the
passage's letters without marks, and any three in a row. Matches are ranked by the same BM25; how rare a word is, is
judged over what is looked through. No extension of PostgreSQL is needed, and nothing depends on the database's locale.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.search import Scope

_MARKS = re.compile("[\u0300-\u036f]")
_LONGEST_WORD = 200
_TITLE, _TEXT = "A", "D"

_FORMS = text("SELECT w, (ts_lexize('passage_forms', w))[1] FROM unnest(CAST(:words AS text[])) AS w")
_WRITE = text(
    "INSERT INTO passage_words (id, words, size, folded, parts)"
    " VALUES (:id, CAST(:words AS tsvector), :size, :folded, CAST(:parts AS text[]))"
)

# FTS5's bm25: k1 1.2, b 0.75, and never a weight below zero for a word that stands in most passages.
_RANKED = """
    WITH mine AS MATERIALIZED (
        SELECT p.id, p.trust, w.words, w.size, w.folded, w.parts
        FROM passage p JOIN passage_words w ON w.id = p.id WHERE {scope}
    ),
    there AS (SELECT count(*)::float8 AS n, greatest(avg(size), 1)::float8 AS usual FROM mine),
    hit AS ({hits}),
    rare AS (SELECT what, count(*)::float8 AS df FROM hit GROUP BY what)
    SELECT id, score FROM (
        SELECT hit.id, hit.trust, sum(
            greatest(ln((n - df + 0.5) / (df + 0.5)), 1e-6) * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * size / usual))
        ) AS score
        FROM hit JOIN rare USING (what) CROSS JOIN there GROUP BY hit.id, hit.trust
    ) AS ranked ORDER BY score * trust DESC LIMIT :limit
"""
_WORDS = """
    SELECT mine.id, trust, size, u.lexeme AS what,
        (SELECT sum(CASE w WHEN 'A' THEN {title} ELSE 1.0 END) FROM unnest(u.weights) AS w)::float8 AS tf
    FROM mine, unnest(words) AS u
    WHERE words @@ CAST(:match AS tsquery) AND u.lexeme = ANY(CAST(:what AS text[]))
"""
_PARTS = """
    SELECT mine.id, trust, size, g AS what,
        ((length(folded) - length(replace(folded, g, ''))) / length(g))::float8 AS tf
    FROM mine, unnest(CAST(:what AS text[])) AS g
    WHERE parts && CAST(:threes AS text[]) AND strpos(folded, g) > 0
"""


async def write(db: AsyncConnection, passages: Mapping[int, tuple[str, str]]) -> None:
    """Index passages: title and text by id. They leave the index with their passages."""
    split = {number: tuple(_folded(part).split() for part in parts) for number, parts in passages.items()}
    forms = await _forms(db, chain.from_iterable(chain(title, body) for title, body in split.values()))
    rows = [_row(number, title, body, forms) for number, (title, body) in split.items()]
    if rows:
        await db.execute(_WRITE, rows)


async def by_words(
    db: AsyncConnection, scope: Scope, words: Sequence[str], limit: int, title: float
) -> dict[int, float]:
    """The passages that have some of the words in any form, best first, with their ranks."""
    folded = [word for each in words for word in _folded(each).split()]
    forms = sorted({form for form in (await _forms(db, folded)).values() if form})
    if not forms:
        return {}
    query = _RANKED.format(scope=scope.condition, hits=_WORDS.format(title=title))
    values = {"match": " | ".join(map(_quoted, forms)), "what": forms}
    return await _ranks(db, query, scope, values, limit)


async def by_parts(db: AsyncConnection, scope: Scope, grams: Sequence[str], limit: int) -> dict[int, float]:
    """The passages in which some of these stand, anywhere in a word."""
    folded = sorted({gram for each in grams for gram in _folded(each).split() if len(gram) >= 3})
    if not folded:
        return {}
    values = {"what": folded, "threes": sorted({gram[:3] for gram in folded})}
    return await _ranks(db, _RANKED.format(scope=scope.condition, hits=_PARTS), scope, values, limit)


async def _ranks(db: AsyncConnection, query: str, scope: Scope, values: dict[str, Any], limit: int) -> dict[int, float]:
    found = await db.execute(text(query), {**scope.values, **values, "limit": limit})
    return {row[0]: row[1] for row in found}


async def _forms(db: AsyncConnection, words: Iterable[str]) -> dict[str, str]:
    wanted = sorted({word[:_LONGEST_WORD] for word in words})
    found = await db.execute(_FORMS, {"words": wanted}) if wanted else ()
    return {word: form or word for word, form in found}


def _row(number: int, title: Sequence[str], body: Sequence[str], forms: Mapping[str, str]) -> dict[str, Any]:
    places: dict[str, list[str]] = {}
    weighted = chain(((word, _TITLE) for word in title), ((word, _TEXT) for word in body))
    for place, (word, weight) in enumerate(weighted, start=1):
        places.setdefault(forms[word[:_LONGEST_WORD]], []).append(f"{place}{weight}")
    folded = f"{' '.join(title)}\n{' '.join(body)}"
    return {
        "id": number,
        "words": " ".join(f"{_quoted(form)}:{','.join(at)}" for form, at in places.items()),
        "size": len(title) + len(body),
        "folded": folded,
        "parts": sorted({folded[i : i + 3] for i in range(len(folded) - 2)}),
    }


def _folded(content: str) -> str:
    """Small letters without the marks that Latin, Greek and Cyrillic letters bear; what is no letter is a space."""
    bare = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", content.lower())))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in bare)


def _quoted(word: str) -> str:
    """As a word is written in PostgreSQL's vectors and queries; there is neither quote nor backslash in one."""
    return f"'{word}'"
