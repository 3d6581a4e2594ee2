"""How long a text may be, where a criterion says so in a number of words."""

from __future__ import annotations

import re

from atlas_mcp.model._base import Frozen

_MOST = re.compile(
    r"\b(?:under|below|at most|(?:no|not) more than|fewer than|less than|max(?:imum)?(?: of)?|within|up to)\s+"
    r"(\d[\d,]*)\s+words\b",
    re.IGNORECASE,
)
_LEAST = re.compile(
    r"\b(?:at least|no fewer than|not less than|min(?:imum)?(?: of)?)\s+(\d[\d,]*)\s+words\b", re.IGNORECASE
)


class Length(Frozen):
    """How many words a text may have."""

    least: int = 0
    most: int | None = None


def length_of(criterion: str) -> Length | None:
    """The number of words that the criterion allows, if it names one."""
    most, least = _MOST.search(criterion), _LEAST.search(criterion)
    if not most and not least:
        return None
    return Length(least=_number(least[1]) if least else 0, most=_number(most[1]) if most else None)


def _number(text: str) -> int:
    return int(text.replace(",", ""))
