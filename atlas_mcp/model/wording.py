"""What can be told of a text by its words alone: what it quotes, whether it only confirms, whether it says the same."""

from __future__ import annotations

import re
from functools import lru_cache

SAME = 0.9
"""Share of words in common from which two texts say the same. Agents that loop reword a little; 0.9 leaves room for
that, while two reports on one matter share at most about two thirds of their words."""

RECEIPT_WORDS = 12
QUOTED = re.compile(r"[“„«\"](?=\S)([^“”„«»\"\n]{8,2000})(?<=\S)[”“»\"]")
"""Words in quotation marks: others' words, not the text's own."""

_RECEIPT = re.compile(
    r"\b(?:ok(?:ay)?|thanks?|thank you|noted|got it|understood|received|acknowledged?|will do|agreed|sounds good|"
    r"you(?:'re| are) welcome|great|perfect|sure)\b",
    re.IGNORECASE,
)
_WORD = re.compile(r"\w+")


def unquoted(text: str) -> str:
    """The text without what it quotes."""
    return QUOTED.sub(" ", text)


def is_receipt(text: str) -> bool:
    """Whether the text only confirms that something arrived: short, no question, and worded as such."""
    return len(words(text)) <= RECEIPT_WORDS and "?" not in text and bool(_RECEIPT.search(text))


def same(one: str, other: str) -> bool:
    """Whether two texts say the same in nearly the same words."""
    mine, theirs = words(one), words(other)
    if not mine or not theirs:
        return not mine and not theirs
    return len(mine & theirs) / len(mine | theirs) >= SAME


@lru_cache(maxsize=512)
def words(text: str) -> frozenset[str]:
    """The words of the text, without their order and case."""
    return frozenset(word.casefold() for word in _WORD.findall(text))
