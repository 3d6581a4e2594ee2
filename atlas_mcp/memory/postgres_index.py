"""The index of passages on PostgreSQL, with what SQLite's two full-text indexes do there.

Words are kept with their places, in the forms that `passage_forms` gives them (Porter's, as in SQLite); so are the
passage's letters without marks, any three in a row, and any one or two of scripts in which they can be words. Matches
are ranked by the same BM25, first by whether a word is there, and the best of these by how often. No extension of
PostgreSQL is needed, and nothing depends on the database's locale.
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

_FORMS = text("SELECT w, (ts_lexize('passage_forms', w))[1] FROM unnest(CAST(:words AS text[])) AS w")
_WRITE = text(
    "INSERT INTO passage_words (id, words, size, folded, parts)"
    " VALUES (:id, CAST(:words AS tsvector), :size, :folded, CAST(:parts AS text[]))"
)
_PLACES = text(
    "SELECT f.form, ARRAY(SELECT id FROM passage_words WHERE words @@ CAST(f.quoted AS tsquery) LIMIT :most)"
    " FROM unnest(CAST(:forms AS text[]), CAST(:quoted AS text[])) AS f (form, quoted)"
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
    WITH top AS ({top}), hit AS (
        SELECT top.id, size, u.lexeme AS what,
            (SELECT sum(CASE w WHEN 'A' THEN {title} ELSE 1.0 END) FROM unnest(u.weights) AS w)::float8 AS tf
        FROM top, unnest(words) AS u WHERE u.lexeme = ANY(CAST(:what AS text[]))
    )
    SELECT id, sum(
        tf * 2.2 / (tf + 1.2 * (0.25 + 0.75 * size / {usual}))
        * (SELECT r.idf FROM unnest(CAST(:what AS text[]), CAST(:idf AS float8[])) AS r (form, idf) WHERE form = what)
    ) AS score FROM hit GROUP BY id ORDER BY score DESC, id DESC LIMIT :limit
"""
_WITHIN = "SELECT p.id FROM passage p WHERE p.id = ANY(CAST(:numbers AS integer[])) AND {scope}"
_NEWEST = """
    SELECT p.id, 1.0::float8 FROM passage_words w JOIN passage p ON p.id = w.id
    WHERE w.words @@ CAST(:match AS tsquery) AND {scope} ORDER BY p.id DESC LIMIT :limit
"""
_PARTS = """
    SELECT p.id, sum((length(folded) - length(replace(folded, g, ''))) / length(g)::float8) AS score
    FROM passage_words w JOIN passage p ON p.id = w.id, unnest(CAST(:what AS text[])) AS g
    WHERE parts @> CAST(ARRAY[substr(g, 1, 3), substr(g, length(g) / 2, 3), right(g, 3)] AS text[])
        AND strpos(folded, g) > 0 AND {scope}
    GROUP BY p.id, p.trust ORDER BY 2 DESC LIMIT :limit
"""
_PIECES = """
    SELECT g, found.id, found.length FROM unnest(CAST(:what AS text[])) AS g CROSS JOIN LATERAL (
        SELECT p.id, length(p.text) AS length FROM passage_words w JOIN passage p ON p.id = w.id
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
    forms = await _forms_of(db, words)
    seen: dict[str, Sequence[int]] = {}

    async def count(unknown: Sequence[str]) -> Mapping[str, int]:
        seen.update(await _places(db, {word: forms[word] for word in unknown}))
        return {word: len(seen[word]) for word in unknown}

    return Counted(await rarity.rarities(db, "words", list(forms), count) if forms else {}, _COUNTED, seen)


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
    places = {**counted.places, **await _places(db, {w: f for w, f in forms.items() if w not in counted.places})}
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


async def _places(db: AsyncConnection, forms: Mapping[str, str]) -> dict[str, Sequence[int]]:
    """Some passages that have the word in that form: all of them, unless the word is frequent."""
    if not forms:
        return {}
    wanted = list(dict.fromkeys(forms.values()))
    values = {"forms": wanted, "quoted": [_quoted(form) for form in wanted], "most": _COUNTED + 1}
    places: dict[str, Sequence[int]] = {row[0]: row[1] for row in await db.execute(_PLACES, values)}
    return {word: places[form] for word, form in forms.items()}


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
    folded = {word: parts[0] for word in words if (parts := _folded(word).split())}
    forms = await _forms(db, folded.values())
    return {word: forms[part[:_LONGEST_WORD]] for word, part in folded.items()}


async def _forms(db: AsyncConnection, words: Iterable[str]) -> dict[str, str]:
    # The dictionary is the same in every record: a word has one form, for ever.
    wanted = {word[:_LONGEST_WORD] for word in words}
    if unknown := sorted(word for word in wanted if word not in _known_forms):
        if len(_known_forms) > _MOST_FORMS:
            _known_forms.clear()
            unknown = sorted(wanted)
        _known_forms.update({word: form or word for word, form in await db.execute(_FORMS, {"words": unknown})})
    return {word: _known_forms[word] for word in wanted}


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
