"""Criteria as the offline model understands them: which measure each one is about, and what a rater watches most."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from atlas_mcp.models.offline.passages import sentences
from atlas_mcp.models.offline.prompt import Persona

Measure = Literal["length", "support", "form", "coverage", "other"]

_MOST = re.compile(
    r"\b(?:under|below|at most|(?:no|not) more than|fewer than|less than|max(?:imum)?(?: of)?|within|up to)\s+"
    r"(\d[\d,]*)\s+words\b",
    re.IGNORECASE,
)
_LEAST = re.compile(
    r"\b(?:at least|no fewer than|not less than|min(?:imum)?(?: of)?)\s+(\d[\d,]*)\s+words\b", re.IGNORECASE
)
_ABOUT: dict[Measure, re.Pattern[str]] = {
    "support": re.compile(
        r"\b(?:support\w*|evidence|claims?|sourc\w+|true|truth\w*|accura\w+|facts?|factual\w*|verif\w+|cit\w+|quot\w+|"
        r"invent\w*|reliab\w*|prove\w*|correct\w*)\b",
        re.IGNORECASE,
    ),
    "form": re.compile(
        r"\b(?:clear\w*|clarity|organi[sz]\w*|structur\w*|read\w*|concis\w*|style|written|well|short|simple|plain|"
        r"order\w*|craft\w*|coheren\w*|headings?|repet\w*)\b",
        re.IGNORECASE,
    ),
    "coverage": re.compile(
        r"\b(?:answer\w*|goal|complet\w*|cover\w*|relevan\w*|questions?|address\w*|on topic|useful|thorough\w*|points?|"
        r"aspects?|asked|whole|reader|person)\b",
        re.IGNORECASE,
    ),
}


@dataclass(frozen=True)
class Length:
    """How many words a text may have."""

    least: int = 0
    most: int | None = None


def measure_of(criterion: str) -> Measure:
    """The measure that the criterion is about: a number of words, else what most of its words name."""
    if length_of(criterion):
        return "length"
    return _most_named(criterion) or "other"


def length_of(criterion: str) -> Length | None:
    """The number of words that the criterion allows, if it names one."""
    most, least = _MOST.search(criterion), _LEAST.search(criterion)
    if not most and not least:
        return None
    return Length(_number(least[1]) if least else 0, _number(most[1]) if most else None)


def focus_of(persona: Persona) -> Measure | None:
    """What a rater of that character watches most: what its name and description speak of, else its persona.

    Only the description's first sentence counts: what follows tells of its team, not of it.
    """
    about = " ".join(sentences(persona.about)[:1])
    return _most_named(f"{persona.name.replace('_', ' ')} {about}") or _most_named(persona.character)


def _most_named(text: str) -> Measure | None:
    """The measure that most words of the text name; the first of equals."""
    counts: list[tuple[int, Measure]] = [(len(pattern.findall(text)), measure) for measure, pattern in _ABOUT.items()]
    count, best = max(counts, key=lambda pair: pair[0])
    return best if count else None


def _number(text: str) -> int:
    return int(text.replace(",", ""))
