"""A text as its reader sees it, and where in the text that stands.

Folded: capitals, full-width and mathematical letters, and letters of another script within a word that look like Latin
ones. Left out: what is invisible (zero-width characters, marks of direction, tags). So one pattern finds a phrase
however it was dressed up. The time grows with the length of the text, and no faster.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from functools import lru_cache

INVISIBLE = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164"
    "\ufe00-\ufe0f\ufeff\uffa0\U000e0000-\U000e0fff"
)
"""As in a class of characters of a pattern."""

_LOOKS = str.maketrans("асеорхуіјѕԁһԛѡαονρυѵ", "aceopxyijsdhqwaovpuv")
"""Small letters, Cyrillic and Greek, after the Latin ones that they look like."""

_ODD = re.compile(rf"[{INVISIBLE}\u2100-\u214f\u2460-\u24ff\uff01-\uff5e\U0001d400-\U0001d7ff\U0001f130-\U0001f189İ]")
_MIXED = re.compile(r"(?:[a-z][\u0370-\u03ff\u0400-\u052f]|[\u0370-\u03ff\u0400-\u052f][a-z])")
_WORD_AROUND = re.compile(r"[^\W\d_]{1,40}")


@dataclass(frozen=True, slots=True)
class Seen:
    """`plain` is the text as it is seen; `at` tells where in the text a place of it is."""

    text: str
    plain: str
    _plain_at: tuple[int, ...] = ()
    _text_at: tuple[int, ...] = ()

    def at(self, place: int) -> int:
        """The offset in the text of the character at that place of `plain`, or of the end."""
        if not self._plain_at:
            return place
        n = bisect_right(self._plain_at, place) - 1
        return min(len(self.text), self._text_at[n] + place - self._plain_at[n])

    def end(self, place: int) -> int:
        """The offset in the text behind the character before that place of `plain`."""
        return self.at(place - 1) + 1 if place else 0


def seen(text: str) -> Seen:
    """The text as it is seen."""
    if text.isascii():
        return Seen(text, text.lower())
    if _ODD.search(text) is None:
        small = _small(text)
        return Seen(text, _unmixed(small))
    pieces: list[str] = []
    plain_at, text_at = [0], [0]
    length, last = 0, 0
    for match in _ODD.finditer(text):
        before, folded = _small(text[last : match.start()]), _folded(match.group())
        pieces += (before, folded)
        length += len(before)
        if len(folded) != 1:
            length += len(folded)
            plain_at.append(length)
            text_at.append(match.end())
        else:
            length += 1
        last = match.end()
    pieces.append(_small(text[last:]))
    return Seen(text, _unmixed("".join(pieces)), tuple(plain_at), tuple(text_at))


def _small(text: str) -> str:
    """In small letters, each in its own place."""
    small = text.lower()
    return small if len(small) == len(text) else "".join(c.lower()[:1] for c in text)


@lru_cache(maxsize=4_096)
def _folded(character: str) -> str:
    if re.fullmatch(rf"[{INVISIBLE}]", character):
        return ""
    return unicodedata.normalize("NFKC", character).lower()


def _unmixed(plain: str) -> str:
    """Words that mix Latin letters with look-alikes, in Latin letters; all others as they are."""
    if _MIXED.search(plain) is None:
        return plain
    return _WORD_AROUND.sub(lambda m: m.group().translate(_LOOKS) if _MIXED.search(m.group()) else m.group(), plain)
