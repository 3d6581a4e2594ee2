"""A text in passages: whole paragraphs where they are short, whole sentences where they are long.

Promise: the passages, joined, are the text, character for character. None is longer than LONGEST characters.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LONGEST = 1_000
_ENOUGH = 500

_PARAGRAPH = re.compile(r"[\s\S]+?(?:\n[ \t\r]*\n\s*|\Z)")
_STOP = re.compile(r"[.!?;]\s+|[。！？；]\s*|\n+")
_SPACE = re.compile(r"\s+")


def passages(text: str) -> list[str]:
    """The passages of the text, in order."""
    made: list[str] = []
    open_one = ""
    for piece in _pieces(text):
        if len(open_one) >= _ENOUGH or len(open_one) + len(piece) > LONGEST:
            made.append(open_one)
            open_one = ""
        open_one += piece
    return [p for p in (*made, open_one) if p]


def _pieces(text: str) -> Iterator[str]:
    for match in _PARAGRAPH.finditer(text):
        paragraph = match.group()
        while len(paragraph) > LONGEST:
            cut = _cut(paragraph)
            yield paragraph[:cut]
            paragraph = paragraph[cut:]
        if paragraph:
            yield paragraph


def _cut(paragraph: str) -> int:
    """Where to part a long paragraph: after its last sentence or word that fits, else anywhere."""
    for pattern in (_STOP, _SPACE):
        ends = [match.end() for match in pattern.finditer(paragraph, 0, LONGEST)]
        if ends and ends[-1] >= _ENOUGH:
            return ends[-1]
    return LONGEST
