"""Docstrings of tools, written Google's way: what a model reads of a tool."""

from __future__ import annotations

import re
from dataclasses import dataclass

_HEAD = re.compile(r"^(Args|Arguments|Returns|Yields|Raises|Examples?|Notes?):\s*$")
_ARGUMENT = re.compile(r"^(\w+)\s*(?:\([^)]*\))?\s*:\s*(.*)$")


@dataclass(frozen=True)
class Docs:
    """`about` is the description without the arguments; `arguments` says of each what it is."""

    about: str
    arguments: dict[str, str]


def read_docs(docstring: str) -> Docs:
    """The parts of a docstring whose indentation was cleaned; what is not there is empty."""
    about: list[str] = []
    arguments: dict[str, str] = {}
    head, current = "", ""
    for line in docstring.splitlines():
        if match := _HEAD.match(line):
            head, current = match[1], ""
            if head not in ("Args", "Arguments"):
                about.append(line)
        elif head in ("Args", "Arguments") and line.strip():
            indent = len(line) - len(line.lstrip())
            start = _ARGUMENT.match(line.strip()) if indent <= 4 else None
            if start:
                current = start[1]
                arguments[current] = start[2]
            elif current:
                arguments[current] += f" {line.strip()}"
        elif head not in ("Args", "Arguments"):
            about.append(line)
    return Docs(_joined(about), {name: text.strip() for name, text in arguments.items()})


def _joined(lines: list[str]) -> str:
    text = "\n".join(lines)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
