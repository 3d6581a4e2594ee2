"""From which side a worker looks at a question: taken from its description, with the words that side is known by."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from atlas_mcp.models.offline.words import terms


@dataclass(frozen=True)
class Angle:
    """`does` opens the worker's task; `looks_for` are words that its passages tend to have."""

    name: str
    does: str
    looks_for: tuple[str, ...]
    known_by: re.Pattern[str]

    @property
    def own(self) -> bool:
        """Whether it finds other things than close reading does."""
        return bool(self.looks_for) or self.name == "checking"

    @cached_property
    def cues(self) -> frozenset[str]:
        """The stems of the words it looks for."""
        return frozenset(terms(" ".join(self.looks_for)))


def _angle(name: str, does: str, cues: str, known_by: str) -> Angle:
    return Angle(name, does, tuple(cues.split()), re.compile(known_by, re.IGNORECASE))


_ANGLES = (
    _angle(
        "checking",
        "Check which passages bear out what is said on",
        "",
        r"verif|check|claim by claim|proof",
    ),
    _angle(
        "figures",
        "Look for figures, quantities and comparisons of size on",
        "number majority proportion greater smaller fewer larger minority increase degree percent half double",
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
        "methods remedy advantage either cure danger prevent consequence result prospect option",
        r"strateg|alternativ|option|recommend|decision",
    ),
    _angle(
        "studies",
        "Look for definitions, distinctions and reasons on",
        "difference understand mean define distinct reason principle theory",
        r"academic|scientific|scholar|papers|stud(?:y|ies)|method",
    ),
    _angle("web", "Look for what bears directly on", "", r"\bweb\b"),
)
_CLOSE_READING = _angle("reading", "Read closely and quote exactly what answers", "", r"document|read|quot")


def angle_of(description: str) -> Angle:
    """The angle that the description names first, else close reading."""
    found = [(match.start(), n) for n, a in enumerate(_ANGLES) if (match := a.known_by.search(description))]
    return _ANGLES[min(found)[1]] if found else _CLOSE_READING


def angle_of_task(task: str) -> Angle:
    """The angle of a task that was worded by one, else the angle its words suggest."""
    return next((a for a in (*_ANGLES, _CLOSE_READING) if task.startswith(a.does)), None) or angle_of(task)
