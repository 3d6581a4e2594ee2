"""Which passages answer a question: relevance by weighted words, then variety.

Relevance is BM25 over the passages at hand, a fifth of it how central a passage is to all of them (so that a question
in other words than the text's is answered too). Headings, openings of paragraphs and the words of a worker's own angle
count a little more, fragments, questions and sentences that lean on the one before a little less. Equal inputs give
equal choices: ties go to the passage that stands earlier.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from math import log

from atlas_mcp.model.orders import is_order
from atlas_mcp.models.offline.passages import MOST_WORDS, Passage
from atlas_mcp.models.offline.words import terms

_K1, _B = 1.2, 0.5
_CENTRAL = 0.2
_ANGLE = 0.25
_LEANS = re.compile(
    r"^(?:this|that|these|those|it|its|they|he|she|such|but|and|or|hence|here|so|then|the former|the latter|"
    r"the other|the same|by this|from this|in this|on this|of these|thus|another|in the (?:first|next|second) place)\b",
    re.IGNORECASE,
)
_MOST_CANDIDATES = 80
_FRAGMENT = 6
_WORST = 0.25


def weights(*questions: tuple[Collection[str], float]) -> dict[str, float]:
    """Query weights from several sets of terms; a term in several has the highest weight."""
    found: dict[str, float] = {}
    for question, weight in questions:
        for term in question:
            found[term] = max(weight, found.get(term, 0.0))
    return found


def rank(
    found: Sequence[Passage],
    query: Mapping[str, float],
    angle: Collection[str] = (),
    shape: re.Pattern[str] | None = None,
) -> list[tuple[float, Passage]]:
    """The passages with their scores from 0 to about 1, best first; commands to the reader are left out.

    `angle` are words that the asker looks out for, `shape` how sentences look that answer such a question.
    """
    usable = [p for p in found if p.bag and not is_order(p.text)]
    if not usable:
        return []
    idf = _rarity(usable)
    asked = _scaled([_bm25(p, query, idf, usable) for p in usable])
    counts = Counter(t for p in usable for t in p.bag)
    spread = {t: log(n) for t, n in counts.items() if n > 2}
    headings = frozenset(t for h in {p.heading for p in usable} for t in terms(h))
    central = _scaled([_centrality(p, spread, headings) for p in usable])
    scored = [
        ((a * (1 - _CENTRAL) + c * _CENTRAL) * _fitness(p, angle, shape), p)
        for a, c, p in zip(asked, central, usable, strict=True)
    ]
    return sorted(scored, key=lambda pair: (-round(pair[0], 6), pair[1].source, pair[1].order))


def choose(
    found: Sequence[Passage],
    query: Mapping[str, float],
    count: int,
    *,
    angle: Collection[str] = (),
    shape: re.Pattern[str] | None = None,
    must: Collection[str] | None = None,
    anyway: bool = False,
    taken: Sequence[Passage] = (),
    variety: float = 0.35,
) -> list[Passage]:
    """At most `count` passages: each the best by relevance less its likeness to those chosen before or `taken`.

    None is chosen that shares no word with `must` (the query, if not given), unless there is no such word or the
    passages are about the matter `anyway` and none shares one; nor one far worse than the best.
    """
    ranked = rank(found, query, angle, shape)
    wanted = frozenset(query if must is None else must)
    touching = [(s, p) for s, p in ranked if p.topic & wanted]
    pool = (touching or (ranked if anyway or not wanted else []))[:_MOST_CANDIDATES]
    pool = [(s, p) for s, p in pool if s >= _WORST * pool[0][0]]
    chosen: list[Passage] = []
    while pool and len(chosen) < count:
        best = max(pool, key=lambda pair: (1 - variety) * pair[0] - variety * _likeness(pair[1], [*taken, *chosen]))
        pool.remove(best)
        if _likeness(best[1], [*taken, *chosen]) < 0.7:  # two thirds the same words is the same thing
            chosen.append(best[1])
    return chosen


def leans(text: str) -> bool:
    """Whether a sentence cannot be understood without the one before it."""
    return bool(_LEANS.match(text))


def overlap(first: frozenset[str], second: frozenset[str]) -> float:
    """The share of words two passages have in common, from 0 to 1."""
    return len(first & second) / len(first | second) if first and second else 0.0


def in_order(found: Sequence[Passage]) -> list[Passage]:
    """As they stand in their sources, sources in the order they first appear."""
    sources = list(dict.fromkeys(p.source for p in found))
    return sorted(found, key=lambda p: (sources.index(p.source), p.order))


def _likeness(passage: Passage, others: Sequence[Passage]) -> float:
    return max((overlap(passage.bag, o.bag) for o in others), default=0.0)


def _rarity(found: Sequence[Passage]) -> dict[str, float]:
    counts = Counter(term for p in found for term in p.bag)
    return {term: log(1 + (len(found) - n + 0.5) / (n + 0.5)) for term, n in counts.items()}


def _bm25(passage: Passage, query: Mapping[str, float], idf: Mapping[str, float], among: Sequence[Passage]) -> float:
    mean = sum(len(p.terms) for p in among) / len(among)
    length = 1 - _B + _B * len(passage.terms) / mean
    tf = Counter(passage.terms)
    score = sum(weight * idf[t] * tf[t] * (_K1 + 1) / (tf[t] + _K1 * length) for t, weight in query.items() if t in tf)
    return score + 0.3 * sum(query[t] for t in passage.topic - passage.bag if t in query)


def _centrality(passage: Passage, spread: Mapping[str, float], headings: Collection[str]) -> float:
    """How much of what the passages keep coming back to stands in this one, and of what their headings name."""
    said = sum(spread.get(t, 0.0) for t in passage.bag) + sum(2.0 for t in passage.bag if t in headings)
    return said / (len(passage.bag) + 6)


def _fitness(passage: Passage, angle: Collection[str], shape: re.Pattern[str] | None) -> float:
    count = len(passage.text.split())
    factor = 1 + _ANGLE * min(len(passage.bag & frozenset(angle)), 2)
    if count < _FRAGMENT:
        factor *= 0.4
    if count > MOST_WORDS:
        factor *= 0.85 if count <= MOST_WORDS + 15 else 0.4
    if passage.front:
        factor *= 0.2
    if passage.text.rstrip().endswith("?"):
        factor *= 0.3
    if passage.line.startswith("…"):
        factor *= 0.6
    elif _LEANS.match(passage.line):
        factor *= 0.8
    if passage.first:
        factor *= 1.1
    if shape and shape.search(passage.text):
        factor *= 2.0
    return factor


def _scaled(scores: list[float]) -> list[float]:
    highest = max(scores, default=0.0)
    return [s / highest for s in scores] if highest > 0 else scores
