"""A text in passages: whole paragraphs where they are short, whole sentences where they are long.

Promise: the passages, joined, are the text, character for character. None is longer than LONGEST characters, and one
that is long enough ends before a heading. `pieces` are the same passages, each with what makes it understood by itself
before it: the headings that it stands under, and the end of the passage before. How much that is, is said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONGEST = 1_000
_ENOUGH = 500
_SECTION = 200
"""So long a passage ends where the next section begins."""
OVERLAP = 150
MOST_HEADINGS = 3
_LONGEST_HEADING = 120

_PARAGRAPH = re.compile(r"[\s\S]+?(?:\n[ \t\r]*\n\s*|\Z)")
_STOP = re.compile(r"[.!?;]\s+|[。！？；]\s*|\n+")
_SPACE = re.compile(r"\s+")
_HEADING = re.compile(r"(#{1,6})[ \t]+\S.*")
_FENCE = re.compile(r"\s*(?:```|~~~)")


@dataclass(frozen=True, slots=True)
class Piece:
    """A passage as it is searched: the first `repeated` characters stand before it in the text, too."""

    text: str
    repeated: int = 0


def pieces(text: str) -> list[Piece]:
    """The passages of the text, in order, each with its headings and the end of the one before it."""
    made: list[Piece] = []
    under = _Headings()
    before = ""
    for own in passages(text):
        begins = _HEADING.match(own.lstrip()) is not None
        shown = under.above(own.lstrip() if begins else None)
        context = "".join(f"{line}\n" for line in shown) + ("" if begins else _end(before))
        made.append(Piece(context + own, len(context)))
        under.read(own)
        before = own
    return made


class _Headings:
    """The headings that a place in a text stands under, as far as it has been read."""

    def __init__(self) -> None:
        self._open: list[tuple[int, str]] = []
        self._fenced = False

    def above(self, heading: str | None = None) -> Sequence[str]:
        """The innermost of them; those above that heading, if there is one."""
        found = _HEADING.match(heading or "")
        level = len(found[1]) if found else 7
        return [line for depth, line in self._open if depth < level][-MOST_HEADINGS:]

    def read(self, part: str) -> None:
        """Go on in the text. What stands in a block of code is no heading."""
        for line in part.splitlines():
            if _FENCE.match(line):
                self._fenced = not self._fenced
            elif not self._fenced and (found := _HEADING.fullmatch(line.rstrip())):
                level = len(found[1])
                kept = [one for one in self._open if one[0] < level]
                self._open = [*kept, (level, line.strip()[:_LONGEST_HEADING])]


def _end(before: str) -> str:
    """The last sentences or words of a passage, at most OVERLAP characters."""
    if len(before) <= OVERLAP:
        return before
    tail = before[-OVERLAP:]
    for pattern in (_STOP, _SPACE):
        starts = [match.end() for match in pattern.finditer(tail) if match.end() < len(tail.rstrip())]
        if starts:
            return tail[starts[0] :]
    return tail


def passages(text: str) -> list[str]:
    """The passages of the text, in order."""
    made: list[str] = []
    open_one = ""
    for piece in _pieces(text):
        enough = _SECTION if _HEADING.match(piece) else _ENOUGH
        if len(open_one) >= enough or len(open_one) + len(piece) > LONGEST:
            made.append(open_one)
            open_one = ""
        open_one += piece
    return [p for p in (*made, open_one) if p]


def _pieces(text: str) -> Iterator[str]:
    heading = ""
    for match in _PARAGRAPH.finditer(text):
        paragraph = heading + match.group()
        heading = ""
        if len(paragraph) <= _SECTION and _HEADING.fullmatch(paragraph.strip()):
            heading = paragraph  # it stays with what follows
            continue
        while len(paragraph) > LONGEST:
            cut = _cut(paragraph)
            yield paragraph[:cut]
            paragraph = paragraph[cut:]
        if paragraph:
            yield paragraph
    if heading:
        yield heading


def _cut(paragraph: str) -> int:
    """Where to part a long paragraph: after its last sentence or word that fits, else anywhere."""
    for pattern in (_STOP, _SPACE):
        ends = [match.end() for match in pattern.finditer(paragraph, 0, LONGEST)]
        if ends and ends[-1] >= _ENOUGH:
            return ends[-1]
    return LONGEST
