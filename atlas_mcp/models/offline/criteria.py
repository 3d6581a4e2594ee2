"""Criteria as the offline model understands them: which measure each one is about, and what a rater watches most."""

from __future__ import annotations

import re
from typing import Literal

from atlas_mcp.model.lengths import length_of
from atlas_mcp.models.offline.passages import sentences
from atlas_mcp.models.offline.prompt import Persona

Measure = Literal["length", "support", "form", "coverage", "other"]

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


def measure_of(criterion: str) -> Measure:
    """The measure that the criterion is about: a number of words, else what most of its words name."""
    if length_of(criterion):
        return "length"
    return _most_named(criterion) or "other"


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
