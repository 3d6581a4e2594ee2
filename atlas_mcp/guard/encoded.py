"""What stands in a text in another writing: base64, hexadecimal, escapes, rot13, backwards, letter by letter.

Each way is tried only where its characters stand, and what it gives is never longer than what it was made of; so all
ways together, three times one in another, take a time that grows with the length of the text and no faster.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEEPEST = 3

_RUN = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{24,}+={0,2}")
_HEX = re.compile(r"[0-9A-Fa-f]+")
_PAIRS = re.compile(r"(?<![0-9A-Fa-f])(?:[0-9A-Fa-f]{2}[ :]){10,}+(?:[0-9A-Fa-f]{2})?")
_ESCAPES = re.compile(r"(?:\\(?:x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4})){6,}+")
_ENTITIES = re.compile(r"(?:&#(?:\d{1,6}|[xX][0-9A-Fa-f]{1,6});){6,}+")
_PERCENT = re.compile(r"(?:[\w.+-]{0,20}%[0-9A-Fa-f]{2}){3,}+[\w.+-]{0,40}")
_LETTERS = re.compile(r"(?:(?<!\w)\w[ .*_-]{1,3}){10,}+\w?")
_BLANKS = re.compile(r"[ ]{2,3}")
_SEPARATORS = re.compile(r"(?<=\w)[ .*_-](?=\w)")
_TURNED = frozenset(
    {"vtaber", "qvfertneq", "sbetrg", "vafgehpgvbaf", "vafgehpgvba", "flfgrz", "qryrgr", "cebzcg", "erirny"}
)
_BACKWARDS = frozenset(
    {"erongi", "dragersid", "tegrof", "snoitcurtsni", "noitcurtsni", "eteled", "tpmorp", "laever", "yromem"}
)
_NEAR = 300


@dataclass(frozen=True, slots=True)
class Decoded:
    """What a place of a text says in another writing."""

    start: int
    end: int
    way: str
    text: str


def decoded(text: str, words: frozenset[str]) -> Iterator[Decoded]:
    """Everything that can be read in another way; `words` are the words of the text in small letters."""
    for match in _RUN.finditer(text):
        in_hex = _HEX.fullmatch(match.group())
        if said := _of_hex(match.group()) if in_hex else _of_base64(match.group()):
            yield Decoded(match.start(), match.end(), "hex" if in_hex else "base64", said)
    if sum(len(word) == 2 and not word.isalpha() for word in words) > 3:
        yield from _runs(text, _PAIRS, "hex", _of_hex)
    if "\\x" in text or "\\u" in text:
        yield from _runs(text, _ESCAPES, "escapes", _of_escapes)
    if "&#" in text:
        yield from _runs(text, _ENTITIES, "entities", html.unescape)
    if "%" in text:
        yield from _runs(text, _PERCENT, "percent", lambda run: unquote(run).replace("+", " "))
    if sum(len(word) == 1 for word in words) > 4:
        yield from _runs(text, _LETTERS, "letter by letter", _of_letters)
    if not words.isdisjoint(_TURNED):
        yield from _around(text, words & _TURNED, "rot13", lambda part: codecs.decode(part, "rot13"))
    if not words.isdisjoint(_BACKWARDS):
        yield from _around(text, words & _BACKWARDS, "backwards", lambda part: part[::-1])


def _runs(text: str, pattern: re.Pattern[str], way: str, read: Callable[[str], str]) -> Iterator[Decoded]:
    for match in pattern.finditer(text):
        if said := read(match.group()):
            yield Decoded(match.start(), match.end(), way, said)


def _around(text: str, words: frozenset[str], way: str, read: Callable[[str], str]) -> Iterator[Decoded]:
    """The text around such words, each stretch once."""
    small = text.lower()
    if len(small) != len(text):
        return
    last = 0
    for match in re.finditer("|".join(map(re.escape, sorted(words))), small):
        start, end = max(last, match.start() - _NEAR), min(len(text), match.end() + _NEAR)
        if match.end() > last:
            yield Decoded(start, end, way, read(text[start:end]))
            last = end


def _of_base64(run: str) -> str:
    if run.isalpha() and (run.islower() or run.isupper()):
        return ""  # a word, however long
    body = run.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return _readable(
            base64.b64decode(body[: len(body) // 4 * 4] if len(body) % 4 == 1 else body + "=" * (-len(body) % 4))
        )
    except (binascii.Error, ValueError):
        return ""


def _of_hex(run: str) -> str:
    digits = run.replace(" ", "").replace(":", "")
    return _readable(bytes.fromhex(digits[: len(digits) // 2 * 2]))


def _of_escapes(run: str) -> str:
    return "".join(chr(int(part[1:], 16)) for part in run.split("\\")[1:]).encode("utf-8", "replace").decode()


def _of_letters(run: str) -> str:
    """A word for each stretch between wider gaps; where all gaps are the same, one without any."""
    return " ".join(_SEPARATORS.sub("", part) for part in _BLANKS.split(run))


def _readable(content: bytes) -> str:
    """What it says, if it is text."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    return text if sum(c.isprintable() or c in "\n\r\t" for c in text) == len(text) else ""
