"""Finding a forgotten text in other texts, and taking it out.

Promise: each stretch of WINDOW words of a forgotten text is found, whatever case, blanks, punctuation and JSON's
escapes stand between its words; a shorter text is found whole. What is found becomes MARK, all else stays as it was,
and of a JSON text the form, too. In scripts without blanks a character counts as a word, and a stretch is twice as
long.

Telling words are those that name one thing: with letters and digits, long numbers, and all in capitals. Those of a
short text (SHORT words) are sought on their own; those of a long one only beside a stretch that was found. What says
the same in other words is not found.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MARK = "[forgotten]"
WINDOW = 5
SHORT = 60
_LEAST_LETTERS = 6
_LONGEST_JSON = 4_000_000

_OWN = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\U00020000-\U0003ffff"
_WORD = re.compile(rf"\\+(?:u[0-9a-fA-F]{{4}}|[nrtbf])|([{_OWN}]|(?:(?![{_OWN}])\w)+)")
_TELLING = re.compile(r"(?=.*\d)(?=.*[^\W\d]).{4,}|\d{6,}")
_CAPITALS = re.compile(r"\b[A-Z]{6,}\b")
_MARKS = re.compile(rf"{re.escape(MARK)}(?:\W*{re.escape(MARK)})+")


def fingerprint(text: str) -> str:
    """What tells the text from others, but for case and blanks."""
    return hashlib.sha256(" ".join(text.split()).casefold().encode("utf-8", "surrogatepass")).hexdigest()


class Redactor:
    """Knows some forgotten texts. `too_short` says how many of them are too short to be sought."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._windows: defaultdict[int, set[tuple[str, ...]]] = defaultdict(set)
        self._words: set[str] = set()
        self._known: set[str] = set()
        self.too_short = 0
        for text in dict.fromkeys(texts):
            self._learn(text)

    def __bool__(self) -> bool:
        return any(self._windows.values())

    @property
    def needles(self) -> list[str]:
        """Words that tell whether a file holds one of the texts, without reading it as text."""
        alone = [window[0] for window in self._windows.get(1, ())]
        return sorted({*alone, *self._words})

    def holds(self, value: Any) -> bool:
        """Whether the value (a text, or what JSON holds) has one of the texts in it, or a stretch of one."""
        if isinstance(value, str):
            return self._holds(value)
        if isinstance(value, dict):
            return any(self.holds(one) for one in cast("dict[Any, Any]", value).values())
        return isinstance(value, list | tuple) and any(self.holds(one) for one in cast("Sequence[Any]", value))

    def mend(self, value: Any, beside: bool = False) -> Any:
        """The value without the texts; the very same object if they are not in it.

        `beside`: one of the texts was found beside it, so that all their telling words are taken out.
        """
        if isinstance(value, str):
            return self._mended(value, beside=beside)
        if isinstance(value, dict):
            given = cast("dict[Any, Any]", value)
            made = {key: self.mend(one, beside) for key, one in given.items()}
            return made if any(made[key] is not given[key] for key in given) else given
        if isinstance(value, list):
            items = cast("list[Any]", value)
            new = [self.mend(one, beside) for one in items]
            return new if any(a is not b for a, b in zip(new, items, strict=True)) else items
        return value

    def _learn(self, text: str) -> None:
        words = _words(text)
        telling = {word for word in words if _TELLING.fullmatch(word)}
        telling |= {word.casefold() for word in _CAPITALS.findall(text)}
        self._words |= telling
        self._known.update(words)
        if len(words) <= SHORT:
            self._windows[1] |= {(word,) for word in telling}
        size = WINDOW * (2 if sum(map(len, words)) < 2 * len(words) else 1)
        if len(words) > size:
            self._windows[size].update(zip(*(words[n:] for n in range(size)), strict=False))
        elif sum(map(len, words)) >= _LEAST_LETTERS and len(words) > 1:
            self._windows[len(words)].add(tuple(words))
        elif not telling:
            self.too_short += 1

    def _holds(self, text: str) -> bool:
        words = _words(text)
        return any(
            not known.isdisjoint(zip(*(words[n:] for n in range(size)), strict=False))
            for size, known in self._windows.items()
        )

    def _mended(self, text: str, *, beside: bool) -> str:
        if not (self._holds(text) or (beside and not self._words.isdisjoint(_words(text)))):
            return text
        if text[:1] in ("{", "[") and len(text) < _LONGEST_JSON:
            try:
                value = json.loads(text)
            except ValueError:
                pass
            else:
                made = self.mend(value, True)
                return text if made is value else json.dumps(made, ensure_ascii=text.isascii())
        return self._cut(text)

    def _cut(self, text: str) -> str:
        found = [(m.group(1).casefold(), m.start(), m.end()) for m in _WORD.finditer(text) if m.group(1)]
        words = [one[0] for one in found]
        gone = {n for n, word in enumerate(words) if word in self._words}
        for size, known in self._windows.items():
            for n, window in enumerate(zip(*(words[k:] for k in range(size)), strict=False)):
                if window in known:
                    gone.update(range(n, n + size))
        last = len(words) - 1
        if last - 1 in gone and any(word.startswith(words[last]) for word in self._known):
            gone.add(last)  # where a text was cut, half a word of it
        pieces: list[str] = []
        at = 0
        for n in sorted(gone):
            _, start, end = found[n]
            if n - 1 in gone:
                at = end
                continue
            pieces += (text[at:start], MARK)
            at = end
        return _MARKS.sub(MARK, "".join((*pieces, text[at:])))


def bare(text: str) -> str:
    """The text without lines of which nothing but marks is left."""
    lines = text.split("\n")
    return "\n".join(line for line in lines if MARK not in line or _words(line.replace(MARK, " ")))


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text.casefold()) if word]
