"""One member of a JSON file set or taken out; every other character stays where it is, comments and all.

A path leads to it by names, and by numbers where it goes through an array.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from atlas_mcp.cli.install_jsonc import TRIVIA, Node, parse
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    Path = Sequence[str | int]

_BESIDE = re.compile(r"(?:[ \t]+|/\*.*?\*/)*(?://[^\n\r]*)?", re.DOTALL)
_INDENTED = re.compile(r"\{[^\S\n]*\r?\n([ \t]+)\"")


def get(text: str, path: Path) -> Any:
    """The value there; None where there is none. Raises InvalidInput with line and column."""
    node = _find(text, path)
    return None if node is None else node.value


def put(text: str, path: Path, value: Any) -> str:
    """The text with that value there, and the objects around it made as needed; in an array the next number adds one.

    Raises InvalidInput with line and column, also where something stands in the way.
    """
    node = parse(text)
    if node is None:
        return f"{text}{_dumped(_nested(path, value), '', _unit(text), _newline(text))}{_newline(text)}"
    for depth, key in enumerate(path):
        if not isinstance(node.value, dict if isinstance(key, str) else list):
            kind = "object" if isinstance(key, str) else "list"
            raise InvalidInput(f"{'.'.join(map(str, path[:depth])) or 'the whole'} is no {kind}.")
        if key not in node.parts:
            return _add(text, node, key, _nested(path[depth + 1 :], value))
        node = node.parts[key].node
    if node.value == value and type(node.value) is type(value):
        return text
    written = _dumped(value, _indent_at(text, node.start), _unit(text), _newline(text))
    return text[: node.start] + written + text[node.end :]


def drop(text: str, path: Path) -> str:
    """The text without that member or item; the same text if there is none. Raises InvalidInput."""
    parent = _find(text, path[:-1])
    if parent is None or path[-1] not in parent.parts:
        return text
    return _take_out(text, parent, path[-1])


def _find(text: str, path: Path) -> Node | None:
    node = parse(text)
    for key in path:
        if node is None or key not in node.parts:
            return None
        node = node.parts[key].node
    return node


def _add(text: str, parent: Node, key: str | int, value: Any) -> str:
    newline, unit, outer = _newline(text), _unit(text), _indent_at(text, parent.start)
    name = f"{json.dumps(key, ensure_ascii=False)}: " if isinstance(key, str) else ""
    if not parent.parts:
        inner, kept = outer + unit, text[parent.start + 1 : parent.end - 1].rstrip()
        body = f"{name}{_dumped(value, inner, unit, newline)}"
        return f"{text[: parent.start + 1]}{kept}{newline}{inner}{body}{newline}{outer}{text[parent.end - 1 :]}"
    last = [*parent.parts.values()][-1]
    if "\n" not in text[parent.start : last.start]:  # all on one line: so is what comes to it
        return f"{text[: last.node.end]}, {name}{json.dumps(value, ensure_ascii=False)}{text[last.node.end :]}"
    inner = _indent_at(text, last.start)
    body = f"{newline}{inner}{name}{_dumped(value, inner, unit, newline)}"
    after = _end(TRIVIA, text, last.node.end)
    if text[after] == ",":  # a comma after the last one: then also after the new one
        here = _end(_BESIDE, text, after + 1)
        return f"{text[:here]}{body},{text[here:]}"
    here = _end(_BESIDE, text, last.node.end)
    beside = text[last.node.end : here].rstrip()
    tail = text[here:] if "\n" in text[here : parent.end - 1] else f"{newline}{outer}{text[parent.end - 1 :]}"
    return f"{text[: last.node.end]},{beside}{body}{tail}"


def _take_out(text: str, parent: Node, key: str | int) -> str:
    part, names = parent.parts[key], list(parent.parts)
    end = _end(TRIVIA, text, part.node.end)
    if text[end] == ",":
        after = text[part.node.end : end] + text[end + 1 :]  # comments before the comma stay
        return _without_line(text, part.start, after)
    if key == names[0]:
        tail = text[part.node.end :]
        start = len(text[: part.start].rstrip())
        emptied = text[start - 1] in "{[" and tail.lstrip()[:1] in "}]"
        return text[:start] + tail.lstrip() if emptied else _without_line(text, part.start, tail)
    comma = _end(TRIVIA, text, parent.parts[names[names.index(key) - 1]].node.end)  # it parts nothing any more
    return _without_line(text[:comma] + text[comma + 1 :], part.start - 1, text[part.node.end :])


def _without_line(text: str, start: int, after: str) -> str:
    """What stands before `start`, then `after`; without the line between that they leave empty."""
    before = text[:start]
    if after[_end(_BESIDE, after, 0) :][:1] in {"\n", "\r"}:
        return before.rstrip() + after
    return before + after.lstrip(" \t")


def _nested(path: Path, value: Any) -> Any:
    for key in reversed(path):
        value = {key: value} if isinstance(key, str) else [value]
    return value


def _dumped(value: Any, indent: str, unit: str, newline: str) -> str:
    return json.dumps(value, indent=unit, ensure_ascii=False).replace("\n", newline + indent)


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    found = pattern.match(text, at)
    return found.end() if found else at


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _unit(text: str) -> str:
    found = _INDENTED.search(text)
    return found[1] if found else "  "


def _indent_at(text: str, at: int) -> str:
    line = text[text.rfind("\n", 0, at) + 1 : at].lstrip("\ufeff")
    return line[: len(line) - len(line.lstrip())]
