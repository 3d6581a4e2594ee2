"""Texts cut into passages: the sentences, or clauses of long ones, that the offline model selects among.

Every passage is a piece of its text, word for word. Headings, lists and paragraphs are understood as in Markdown.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property

from atlas_mcp.models.offline.words import terms

MOST_WORDS = 45
_ABBREVIATION = re.compile(
    r"(?:\b(?:Mr|Mrs|Ms|Dr|Prof|St|No|Nos|vs|etc|cf|e\.g|i\.e|Jr|Sr|Fig|Vol|pp|ca|Inc|Ltd|U\.S|U\.K)|\b[A-Z])\.$"
)
_END = re.compile(r"[.!?…]+[\"'”’)\]*_]*(?=\s+[\"'“‘(\[*_]*[A-Z0-9“‘]|\s*$)")
_PARAGRAPH = re.compile(r"\n[ \t]*\n")
_HEADING = re.compile(r"^(#{1,6})[ \t]+(.+?)[ \t#]*$")
_FRONT = re.compile(r"# [^\n]+(?:\n(?!#)[^\n]{0,300})*?(?=\n##|$)")
_ITEM = re.compile(r"^[ \t]*(?:[-*+]|\d+[.)])[ \t]+")
_CLAUSE = re.compile(r"(?<=[;:])\s+|(?<=[—–])\s*")


@dataclass(frozen=True)
class Passage:
    """A piece of a text, word for word.

    `order` is its place in the source; `first` says that it opens a paragraph, `cut` that a sentence was divided,
    `front` that it stands between a title and the first heading: who wrote it and when, not what it says.
    """

    text: str
    source: str = ""
    order: int = 0
    heading: str = ""
    first: bool = False
    cut: bool = False
    front: bool = False

    @cached_property
    def terms(self) -> tuple[str, ...]:
        """Its telling words, as stems."""
        return tuple(terms(self.text))

    @cached_property
    def bag(self) -> frozenset[str]:
        """The same, as a set."""
        return frozenset(self.terms)

    @cached_property
    def topic(self) -> frozenset[str]:
        """Its telling words and those of the headings over it."""
        return self.bag | frozenset(terms(self.heading))

    @property
    def line(self) -> str:
        """The text on one line, with dots where a sentence was cut."""
        flat = " ".join(self.text.split())
        if not self.cut:
            return flat
        start = "" if flat[:1].isupper() or flat[:1] in "\"“'‘" else "… "
        return f"{start}{flat.rstrip(';:,—– ')}" + ("" if flat.endswith((".", "!", "?")) else " …")


def sentences(paragraph: str) -> list[str]:
    """The paragraph's sentences, word for word."""
    found: list[str] = []
    start = 0
    for match in _END.finditer(paragraph):
        piece = paragraph[start : match.end()]
        if _ABBREVIATION.search(piece.rstrip("\"'”’)]*_ ")) and match.end() < len(paragraph.rstrip()):
            continue
        found.append(piece.strip())
        start = match.end()
    if rest := paragraph[start:].strip():
        found.append(rest)
    return [s for s in found if s]


def passages(text: str, source: str = "", *, start: int = 0, most_words: int = MOST_WORDS) -> list[Passage]:
    """The passages of a text, in order; none is longer than `most_words` unless it has no place to be cut."""
    found: list[Passage] = []
    headings: tuple[str, ...] = ()
    title = _FRONT.match(text.lstrip())
    front_end = title.end() + len(text) - len(text.lstrip()) if title else 0
    position = 0
    for block in _PARAGRAPH.split(text):
        front = position < front_end
        position += len(block)
        lines, headings = _without_headings(block, headings)
        for item in _items(lines):
            for n, sentence in enumerate(sentences(item)):
                pieces = _pieces(sentence, most_words)
                for m, piece in enumerate(pieces):
                    order = start + len(found)
                    found.append(
                        Passage(piece, source, order, " / ".join(headings), n == 0 and m == 0, len(pieces) > 1, front)
                    )
    return found


def whole(excerpt: str) -> str:
    """An excerpt without the torn sentences at its ends."""
    text = excerpt.strip().removeprefix("…").removesuffix("…").strip()
    parts = sentences(text)
    if len(parts) > 1 and parts[0][:1].islower():
        parts = parts[1:]
        text = text[text.index(parts[0]) :]
    if len(parts) > 1 and not re.search(r"[.!?][\"'”’)\]]*$", parts[-1]):
        text = text[: text.rindex(parts[-1])].rstrip()
    return text


def distinct(found: list[Passage]) -> list[Passage]:
    """Without repetitions of the same words; the first of them stays."""
    seen: dict[str, Passage] = {}
    for passage in found:
        seen.setdefault(" ".join(passage.text.lower().split()), passage)
    return list(seen.values())


def from_source(found: list[Passage], source: str) -> list[Passage]:
    """The same passages, said to come from another source."""
    return [replace(passage, source=source) for passage in found]


def _without_headings(block: str, above: tuple[str, ...]) -> tuple[str, tuple[str, ...]]:
    """The block's other lines, and the headings that stand over them: the title and the last one under it."""
    kept: list[str] = []
    for line in block.split("\n"):
        if match := _HEADING.match(line.strip()):
            above = (match[2],) if len(match[1]) == 1 else (*above[:1], match[2])
        else:
            kept.append(line)
    return "\n".join(kept).strip("\n"), above


def _items(block: str) -> list[str]:
    """A block's list items one by one, or the block as one paragraph."""
    lines = block.split("\n")
    if not any(_ITEM.match(line) for line in lines):
        return [block] if block.strip() else []
    found: list[list[str]] = []
    for line in lines:
        if _ITEM.match(line) or not found:
            found.append([_ITEM.sub("", line, count=1)])
        else:
            found[-1].append(line)
    return ["\n".join(item) for item in found]


def _pieces(sentence: str, most_words: int) -> list[str]:
    """The sentence, or its clauses put together as far as they fit; each is a piece of it, word for word."""
    if len(sentence.split()) <= most_words:
        return [sentence]
    cuts = [0, *(m.end() for m in _CLAUSE.finditer(sentence)), len(sentence)]
    found: list[str] = []
    start = 0
    for position, following in zip(cuts[1:], [*cuts[2:], None], strict=False):
        if following is None or len(sentence[start:following].split()) > most_words:
            found.append(sentence[start:position].strip())
            start = position
    return [piece for piece in found if piece]
