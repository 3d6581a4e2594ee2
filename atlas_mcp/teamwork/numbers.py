"""Numbers in texts, told apart by their value: "1,200", "1200" and "1 200.0" are one number, "forty-two" is 42."""

from __future__ import annotations

import re
from collections.abc import Iterator

COUNTING = 12
"""Whole numbers up to this one count and order what a text speaks of, and need no source."""

_FIGURES = re.compile(r"(?<![\w.])\d{1,3}(?:[,\u00a0\u202f ]\d{3})+(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?")
_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SMALL = {w: n for n, w in enumerate(_ONES)} | {w: n for n, w in zip(range(20, 100, 10), _TENS, strict=True)}
_BIG = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_WORD = "|".join([*_SMALL, *_BIG])
_WORDS = re.compile(rf"\b(?:{_WORD})(?:[- ](?:and )?(?:{_WORD}))*\b", re.IGNORECASE)


def numbers(text: str) -> Iterator[tuple[str, str]]:
    """The numbers in figures that need a source, as they are written and by their value."""
    for match in _FIGURES.finditer(text):
        value = _value(match.group())
        if not (value.isdigit() and int(value) <= COUNTING):
            yield match.group(), value


def said_numbers(text: str) -> Iterator[str]:
    """The value of every number, in figures or in English words."""
    for match in _FIGURES.finditer(text):
        yield _value(match.group())
    for match in _WORDS.finditer(text):
        yield str(_spoken(re.split(r"[- ]", match.group().lower())))


def _value(figures: str) -> str:
    plain = re.sub(r"[,\u00a0\u202f ]", "", figures)
    whole, _, rest = plain.partition(".")
    rest = rest.rstrip("0")
    whole = whole.lstrip("0") or "0"
    return f"{whole}.{rest}" if rest else whole


def _spoken(words: list[str]) -> int:
    total = part = 0
    for word in words:
        if word == "hundred":
            part = max(part, 1) * 100
        elif word in _BIG:
            total, part = total + max(part, 1) * _BIG[word], 0
        else:
            part += _SMALL.get(word, 0)
    return total + part
