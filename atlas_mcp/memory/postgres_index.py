"""The index of passages on PostgreSQL, with what SQLite's two full-text indexes do there.

`passage_words` has the words with their places, in the forms that `passage_forms` gives them (Porter's, as in SQLite);
`passage_parts` the passage's letters without marks, any three in a row, and any one or two of scripts in which they can
be words. Matches are ranked by the same BM25, first by whether a word is there, and the best of these by how often. No
extension of PostgreSQL is needed, and nothing depends on the database's locale.
"""

from __future__ import annotations

import math
import re
import unicodedata
from heapq import nlargest
from itertools import chain
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from atlas_mcp.memory import rarity
from atlas_mcp.memory.rarity import Counted
from atlas_mcp.memory.words import UNSPACED

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.scope import Scope

_MARKS = re.compile("[\u0300-\u036f]")
_STRETCH = re.compile(f"[{UNSPACED}]+")
_LONGEST_WORD = 200
_TITLE, _TEXT = "A", "D"
_TITLE_WEIGHT = 0.5
_ENOUGH_PLACES = 1_000
_COUNTED = 1_000
_READ = 4
"""So many times as many passages are read as are asked for."""
_MOST_FORMS = 50_000
_USUAL = 30
"""Words that a passage has, about: longer ones count less for the same words. FTS5's k1 is 1.2, and its b 0.75."""

_known_forms: dict[str, str] = {}

_FORMS = text("SELECT w, coalesce((ts_lexize('passage_forms', w))[1], w) FROM unnest(CAST(:words AS text[])) AS w")
_WRITE = text(
    "WITH of_words AS (INSERT INTO passage_words (id, words, size) VALUES (:id, CAST(:words AS tsvector), :size))"
    " INSERT INTO passage_parts (id, folded, parts) VALUES (:id, :folded, CAST(:parts AS text[]))"
)
_PLACES = text(
    "SELECT w, form,"
    " ARRAY(SELECT id FROM passage_words WHERE words @@ CAST(quote_literal(form) AS tsquery) LIMIT :most)"
    " FROM (SELECT w, coalesce((ts_lexize('passage_forms', w))[1], w) FROM unnest(CAST(:words AS text[])) AS w)"
    " AS f (w, form)"
)
_SIZE = text("SELECT coalesce(max(id), 0) FROM passage")

_MATCHING = """
    SELECT p.id, w.words, w.size FROM passage_words w JOIN passage p ON p.id = w.id
    WHERE w.words @@ CAST(:match AS tsquery) AND {scope}
    ORDER BY ({sum}) * p.trust / (0.25 + 0.75 * w.size / {usual}) DESC, p.id DESC LIMIT :limit
"""
_NAMED = """
    SELECT p.id, w.words, w.size FROM passage p JOIN passage_words w ON w.id = p.id
    WHERE p.id = ANY(CAST(:numbers AS integer[])) AND {scope}
"""
_RANKED = """
    SELECT top.id, sum(
        (CAST(:idf AS float8[]))[array_position(CAST(:what AS text[]), u.lexeme)]
        * tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * size / {usual}))
    ) AS score
    FROM ({top}) AS top, unnest(words) AS u, CAST(
        cardinality(u.weights) - (1 - {title}) * cardinality(array_positions(u.weights, 'A')) AS float8
    ) AS tf
    WHERE u.lexeme = ANY(CAST(:what AS text[])) GROUP BY top.id ORDER BY score DESC, top.id DESC LIMIT :limit
"""
_WITHIN = "SELECT p.id FROM passage p WHERE p.id = ANY(CAST(:numbers AS integer[])) AND {scope}"
_NEWEST = """
    SELECT p.id, 1.0::float8 FROM passage_words w JOIN passage p ON p.id = w.id
    WHERE w.words @@ CAST(:match AS tsquery) AND {scope} ORDER BY p.id DESC LIMIT :limit
"""
_PARTS = """
    SELECT p.id, sum((length(folded) - length(replace(folded, g, ''))) / length(g)::float8) AS score
    FROM passage_parts w JOIN passage p ON p.id = w.id, unnest(CAST(:what AS text[])) AS g
    WHERE parts @> CAST(ARRAY[substr(g, 1, 3), substr(g, length(g) / 2, 3), right(g, 3)] AS text[])
        AND strpos(folded, g) > 0 AND {scope}
    GROUP BY p.id, p.trust ORDER BY 2 DESC LIMIT :limit
"""
_PIECES = """
    SELECT g, found.id, found.length FROM unnest(CAST(:what AS text[])) AS g CROSS JOIN LATERAL (
        SELECT p.id, length(p.text) AS length FROM passage_parts w JOIN passage p ON p.id = w.id
        WHERE w.parts @> ARRAY[g] AND {scope} LIMIT :most
    ) AS found
"""


async def write(db: AsyncConnection, passages: Mapping[int, tuple[str, str]]) -> None:
    """Index passages: title and text by id. They leave the index with their passages."""
    split = {number: tuple(_folded(part).split() for part in parts) for number, parts in passages.items()}
    forms = await _forms(db, chain.from_iterable(chain(title, body) for title, body in split.values()))
    rows = [_row(number, title, body, forms) for number, (title, body) in split.items()]
    if rows:
        await db.execute(_WRITE, rows)


async def counts(db: AsyncConnection, words: Sequence[str]) -> Counted:
    """How many passages of the record have each of the words, in whatever form, and which."""
    seen: dict[str, Sequence[int]] = {}

    async def count(unknown: Sequence[str]) -> Mapping[str, int]:
        seen.update(await _places(db, unknown))
        return {word: len(seen[word]) for word in unknown}

    known = [word for word in words if _plain(word)]
    return Counted(await rarity.rarities(db, "words", known, count), _COUNTED, seen)


async def by_words(
    db: AsyncConnection,
    scope: Scope,
    words: Sequence[str],
    limit: int,
    tells: Mapping[str, float],
    counted: Counted,
) -> dict[int, float]:
    """The passages that have any of the words, best first, with their ranks; `tells` is how much each word counts.

    Where no word is frequent, the sums of what they tell say which passages are worth reading.
    """
    forms = await _forms_of(db, words)
    if not forms:
        return {}
    weights = {form: tells.get(word, 1.0) for word, form in forms.items()}
    if any(counted.of.get(word, 0) > counted.most for word in forms):
        return await _ranked(db, *_matching(weights), scope, weights, limit)
    places = {**counted.places, **await _places(db, [word for word in forms if word not in counted.places])}
    sums: dict[int, float] = {}
    for word, form in {form: (word, form) for word, form in forms.items()}.values():
        for number in places[word]:
            sums[number] = sums.get(number, 0.0) + weights[form]
    best = _best(sums, limit)
    found = await _ranked(db, _NAMED, {"numbers": best}, scope, weights, limit)
    if len(found) >= limit or len(best) == len(sums):
        return found
    within = await db.execute(scope.statement(_WITHIN), {**scope.values, "numbers": list(sums)})
    best = _best({row[0]: sums[row[0]] for row in within}, limit)
    return await _ranked(db, _NAMED, {"numbers": best}, scope, weights, limit)


async def newest(db: AsyncConnection, scope: Scope, words: Sequence[str], limit: int) -> dict[int, float]:
    """The newest passages that have all of the words, which are in so many that no rank tells them apart."""
    forms = sorted(set((await _forms_of(db, words)).values()))
    return await _ranks(db, _NEWEST, scope, {"match": " & ".join(map(_quoted, forms))}, limit) if forms else {}


async def by_parts(db: AsyncConnection, scope: Scope, parts: Sequence[str], limit: int) -> dict[int, float]:
    """The passages in which any of these, of three letters at least, stands anywhere in a word."""
    folded = sorted({part for each in parts for part in _folded(each).split() if len(part) >= 3})
    return await _ranks(db, _PARTS, scope, {"what": folded}, limit) if folded else {}


async def by_pieces(
    db: AsyncConnection, scope: Scope, pieces: Sequence[str], passages: int, limit: int
) -> dict[int, float]:
    """The passages in which any of these, of one or two letters, stands; the rarer a piece, the more it counts."""
    wanted = sorted({part for each in pieces for part in _folded(each).split()})
    for most in (_ENOUGH_PLACES, None):
        values = {**scope.values, "what": wanted, "most": most}
        places: dict[str, list[int]] = {}
        lengths: dict[int, int] = {}
        for piece, number, length in await db.execute(scope.statement(_PIECES), values):
            places.setdefault(piece, []).append(number)
            lengths[number] = length
        sums: dict[int, float] = {}
        for numbers in (n for n in places.values() if most is None or len(n) < most):
            for number in numbers:
                sums[number] = sums.get(number, 0.0) + math.log(1 + passages / len(numbers))
        if sums:
            ranked = rarity.by_length(sums, lengths)
            return dict(sorted(ranked.items(), key=lambda one: -one[1])[:limit])
    return {}


async def size(db: AsyncConnection) -> int:
    """About how many passages the record has."""
    return (await db.execute(_SIZE)).scalar() or 0


async def _places(db: AsyncConnection, words: Sequence[str]) -> dict[str, Sequence[int]]:
    """Some passages that have each word in whatever form: all of them, unless it is frequent."""
    if not words:
        return {}
    plain = {word: _plain(word) for word in words}
    wanted = {"words": list(dict.fromkeys(plain.values())), "most": _COUNTED + 1}
    rows = (await db.execute(_PLACES, wanted)).all()
    _remember({row[0]: row[1] for row in rows})
    places: dict[str, Sequence[int]] = {row[0]: row[2] for row in rows}
    return {word: places[one] for word, one in plain.items()}


def _best(sums: Mapping[int, float], limit: int) -> list[int]:
    """Those that may come out best when it also counts how often the words stand there, and how long the text is."""
    return nlargest(_READ * limit, sums, key=lambda number: (sums[number], number))


def _matching(weights: Mapping[str, float]) -> tuple[str, dict[str, Any]]:
    """What selects those that match, the best of them first, roughly, and the values it names."""
    parts = [
        f"CASE WHEN w.words @@ CAST(:form{n} AS tsquery) THEN {idf:.6f} ELSE 0 END"
        for n, idf in enumerate(weights.values())
    ]
    values = {f"form{n}": _quoted(form) for n, form in enumerate(weights)}
    return _MATCHING.replace("{sum}", " + ".join(parts)), {**values, "match": " | ".join(map(_quoted, weights))}


async def _ranked(
    db: AsyncConnection, top: str, values: dict[str, Any], scope: Scope, weights: Mapping[str, float], limit: int
) -> dict[int, float]:
    """The best by BM25 of what `top` selects, whose values these are."""
    query = _RANKED.replace("{top}", top).replace("{usual}", f"{_USUAL}.0").replace("{title}", str(_TITLE_WEIGHT))
    return await _ranks(db, query, scope, {**values, "what": list(weights), "idf": list(weights.values())}, limit)


async def _ranks(db: AsyncConnection, query: str, scope: Scope, values: dict[str, Any], limit: int) -> dict[int, float]:
    found = await db.execute(scope.statement(query), {**scope.values, **values, "limit": limit})
    return {row[0]: row[1] for row in found}


async def _forms_of(db: AsyncConnection, words: Sequence[str]) -> dict[str, str]:
    """The form of each word under which it is looked for; without those that have none."""
    plain = {word: one for word in words if (one := _plain(word))}
    forms = await _forms(db, plain.values())
    return {word: forms[one] for word, one in plain.items()}


async def _forms(db: AsyncConnection, words: Iterable[str]) -> dict[str, str]:
    # The dictionary is the same in every record: a word has one form, for ever.
    wanted = {word[:_LONGEST_WORD] for word in words}
    known = {word: _known_forms[word] for word in wanted if word in _known_forms}
    if unknown := sorted(wanted - known.keys()):
        found = {row[0]: row[1] for row in await db.execute(_FORMS, {"words": unknown})}
        _remember(found)
        known |= found
    return known


def _remember(forms: Mapping[str, str]) -> None:
    if len(_known_forms) > _MOST_FORMS:
        _known_forms.clear()
    _known_forms.update(forms)


def _plain(word: str) -> str:
    """The word as it is indexed but for its form; empty for one that is nothing but signs."""
    return next(iter(_folded(word).split()), "")[:_LONGEST_WORD]


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
        "parts": sorted({folded[i : i + 3] for i in range(len(folded) - 2)} | _short_pieces(folded)),
    }


def _short_pieces(folded: str) -> set[str]:
    stretches = [match.group() for match in _STRETCH.finditer(folded)]
    return {part[i : i + n] for part in stretches for n in (1, 2) for i in range(len(part) - n + 1)}


def _folded(content: str) -> str:
    """Small letters without the marks that Latin, Greek and Cyrillic letters bear; what is no letter is a space."""
    bare = unicodedata.normalize("NFC", _MARKS.sub("", unicodedata.normalize("NFD", content.lower())))
    return "".join(c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in bare)


def _quoted(word: str) -> str:
    """As a word is written in PostgreSQL's vectors and queries; there is neither quote nor backslash in one."""
    return f"'{word}'"
