"""From which side a worker looks at a question: taken from its description, with the words that side is known by."""

from __future__ import annotations

import re
from dataclasses import dataclass

from atlas_mcp.models.offline_words import terms


@dataclass(frozen=True)
class Angle:
    """`does` opens the worker's task; `cues` are stems of words that its passages tend to have."""

    name: str
    does: str
    cues: frozenset[str]
    known_by: re.Pattern[str]


def _angle(name: str, does: str, cues: str, known_by: str) -> Angle:
    return Angle(name, does, frozenset(terms(cues)), re.compile(known_by, re.IGNORECASE))


_ANGLES = (
    _angle(
        "checking",
        "Check which passages bear out what is said on",
        "evidence true fact follows clearly evidently shown proved experience observed certain",
        r"verif|check|claim by claim|proof",
    ),
    _angle(
        "figures",
        "Look for figures, quantities and comparisons of size on",
        "number greater smaller fewer larger majority minority increase proportion degree percent half double measure",
        r"\bdata\b|figures|quantit|statistic|calculat",
    ),
    _angle(
        "money",
        "Look for property, costs, money and interests on",
        "property money debt creditor debtor tax price cost trade manufacturing mercantile landed wealth profit budget",
        r"financ|money|cash|cost|budget",
    ),
    _angle(
        "choices",
        "Set out the alternatives and what each leads to on",
        "method remedy cure either advantage danger prevent control effect consequence result object means prospect",
        r"strateg|alternativ|option|recommend|decision",
    ),
    _angle(
        "studies",
        "Look for definitions, distinctions and reasons on",
        "mean understand define difference distinct cause reason therefore principle theory",
        r"academic|scientific|scholar|papers|stud(?:y|ies)|method",
    ),
    _angle("web", "Look for what bears directly on", "first second recent new", r"\bweb\b"),
)
_CLOSE_READING = _angle("reading", "Read closely and quote exactly what answers", "", r"document|read|quot")


def angle_of(description: str) -> Angle:
    """The angle that the description names first, else close reading."""
    found = [(match.start(), n) for n, a in enumerate(_ANGLES) if (match := a.known_by.search(description))]
    return _ANGLES[min(found)[1]] if found else _CLOSE_READING


def angle_of_task(task: str) -> Angle:
    """The angle of a task that was worded by one, else the angle its words suggest."""
    return next((a for a in (*_ANGLES, _CLOSE_READING) if task.startswith(a.does)), None) or angle_of(task)
