"""What a person who looks at a text does not see: tags, runs of invisible characters, turned directions, codes that
steer a terminal, and what a page's source hides. All of it is found in a time that grows with the length of the text,
and no faster.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_TAGS = re.compile(r"(?<!\U0001f3f4)(?<![\U000e0020-\U000e007f])[\U000e0000-\U000e007f]++")
_SMUGGLED = re.compile(r"[\ufe00-\ufe0f\U000e0100-\U000e01ef]{4,}+|[\u200b-\u200f\u2060-\u2064\ufeff]{8,}+")
_TURNED = re.compile(r"[\u202d\u202e][^\u202c\n]{0,400}\u202c?")
_STEERING = re.compile(
    r"\x1b(?:\[[0-9;?]{0,20}[A-Za-z]|\][^\x07\x1b]{0,200}(?:\x07|\x1b\\)?)|[\x00-\x08\x0e-\x1a\x1c-\x1f]"
)
_SUSPECT = re.compile("[\u200b-\u200f\u202d\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0000-\U000e01ef]")
_UNSEEN = re.compile(
    r"display\s{0,3}:\s{0,3}none|visibility\s{0,3}:\s{0,3}hidden|font-size\s{0,3}:\s{0,3}0(?![.\d]*[1-9])"
    r"|opacity\s{0,3}:\s{0,3}0(?![.\d])|color\s{0,3}:\s{0,3}(?:white|#fff(?:fff)?)\b|aria-hidden\s?=|\bhidden>"
    r"|left\s{0,3}:\s{0,3}-\d{3,5}px|text-indent\s{0,3}:\s{0,3}-\d{3,5}"
)
_FAR = 1_000


@dataclass(frozen=True, slots=True)
class Unseen:
    """A place that a reader does not see, and what it says to a model, as far as that can be told."""

    start: int
    end: int
    rule: str
    says: str = ""


def unseen(text: str) -> Iterator[Unseen]:
    """Characters that nobody sees and that have no innocent use there; each stretch once."""
    if not text.isascii() and _SUSPECT.search(text):
        for match in _TAGS.finditer(text):
            says = "".join(chr(ord(c) - 0xE0000) for c in match.group() if 0xE0020 <= ord(c) < 0xE007F)
            yield Unseen(match.start(), match.end(), "hidden.tags", says)
        for match in _SMUGGLED.finditer(text):
            yield Unseen(match.start(), match.end(), "hidden.characters")
        for match in _TURNED.finditer(text):
            yield Unseen(match.start(), match.end(), "hidden.direction", match.group()[1:].rstrip("\u202c")[::-1])
    if not text.isprintable():
        for match in _STEERING.finditer(text):
            yield Unseen(match.start(), match.end(), "hidden.steering")


def concealment(plain: str, start: int, end: int) -> tuple[int, int] | None:
    """The whole of the comment, or of the hidden element, in which that place of a page's source stands, if any."""
    near = max(0, start - _FAR)
    opened = plain.rfind("<!--", near, start)
    if opened >= 0 and plain.find("-->", opened, start) < 0:
        closed = plain.find("-->", end, end + _FAR)
        return opened, closed + 3 if closed >= 0 else end
    tag = plain.rfind("<", near, start)
    if tag >= 0 and plain.find(">", tag, start) >= 0 and _UNSEEN.search(plain, tag, start + 1):
        closed = plain.find("</", end, end + _FAR)
        return plain.find(">", tag, start) + 1, closed if closed >= 0 else end
    return None
