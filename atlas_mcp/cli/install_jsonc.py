"""Where things stand in a JSON file that people write by hand: with comments, and with commas too many.

Nothing is lost: a node knows where it begins and ends in the text, so that an edit can leave all the rest as it is.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any

from atlas_mcp.errors import InvalidInput

TRIVIA = re.compile(r"(?:[\s\ufeff]+|//[^\n]*|/\*.*?\*/)*", re.DOTALL)
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\.)*"')
_PLAIN = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null")
_DEEPEST = 100


@dataclass(frozen=True)
class Node:
    """A value and its place in the text; an object also knows its members, an array its items by number."""

    start: int
    end: int
    value: Any
    parts: dict[str | int, Part] = field(default_factory=dict["str | int", "Part"])


@dataclass(frozen=True)
class Part:
    """A member of an object, or an item of an array: where it begins, name and all, and its value."""

    start: int
    node: Node


def parse(text: str) -> Node | None:
    """The document's value; None when there is nothing but white space and comments. Raises InvalidInput."""
    reader = _Reader(text)
    start = reader.past_trivia(0)
    if start == len(text):
        return None
    node = reader.value(start, 0)
    end = reader.past_trivia(node.end)
    if end < len(text):
        raise reader.wrong(end, "something follows the end of the document")
    return node


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text

    def wrong(self, at: int, what: str) -> InvalidInput:
        line = self._text.count("\n", 0, at) + 1
        column = at - (self._text.rfind("\n", 0, at) + 1) + 1
        return InvalidInput(f"line {line}, column {column}: {what}.")

    def past_trivia(self, at: int) -> int:
        found = TRIVIA.match(self._text, at)
        end = found.end() if found else at
        if self._text.startswith("/*", end):
            raise self.wrong(end, "a comment begins here and does not end")
        return end

    def value(self, at: int, depth: int) -> Node:
        if depth > _DEEPEST:
            raise self.wrong(at, "it is nested too deeply")
        match self._text[at : at + 1]:
            case "{":
                return self._object(at, depth)
            case "[":
                return self._array(at, depth)
            case '"':
                return self._string(at)
            case "":
                raise self.wrong(at, "the document ends where a value should stand")
            case _:
                found = _PLAIN.match(self._text, at)
                if not found or self._text[found.end() : found.end() + 1].isalnum():
                    raise self.wrong(at, "this is no JSON value")
                return Node(at, found.end(), json.loads(found[0]))

    def _string(self, at: int) -> Node:
        found = _STRING.match(self._text, at)
        if not found:
            raise self.wrong(at, "a string begins here and does not end on its line")
        try:
            return Node(at, found.end(), json.loads(found[0]))
        except json.JSONDecodeError:
            raise self.wrong(at, "this string has an escape that JSON does not know") from None

    def _object(self, at: int, depth: int) -> Node:
        members: dict[str | int, Part] = {}
        here = self.past_trivia(at + 1)
        while self._text[here : here + 1] != "}":
            if self._text[here : here + 1] != '"':
                raise self.wrong(here, 'a name in quotes, or "}", should stand here')
            name = self._string(here)
            if name.value in members:
                raise self.wrong(here, f"{name.value!r} stands twice in one object")
            colon = self.past_trivia(name.end)
            if self._text[colon : colon + 1] != ":":
                raise self.wrong(colon, 'a ":" should stand here')
            node = self.value(self.past_trivia(colon + 1), depth + 1)
            members[name.value] = Part(here, node)
            here = self._next(node.end, "}")
        return Node(at, here + 1, {name: part.node.value for name, part in members.items()}, members)

    def _array(self, at: int, depth: int) -> Node:
        items: dict[str | int, Part] = {}
        here = self.past_trivia(at + 1)
        while self._text[here : here + 1] != "]":
            node = self.value(here, depth + 1)
            items[len(items)] = Part(here, node)
            here = self._next(node.end, "]")
        return Node(at, here + 1, [part.node.value for part in items.values()], items)

    def _next(self, end: int, closing: str) -> int:
        here = self.past_trivia(end)
        if self._text[here : here + 1] == ",":
            return self.past_trivia(here + 1)
        if self._text[here : here + 1] != closing:
            raise self.wrong(here, f'a "," or "{closing}" should stand here')
        return here
