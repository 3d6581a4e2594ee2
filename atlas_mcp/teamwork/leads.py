"""What opens each question of a team task, word for word: one file a part in `rosters/tasks`.

In a file a paragraph's lines are one line, and `{{name}}` stands for what is known only when the question is put. A
text that was promoted takes the place of a file's for the runs of its home; it has the same names in it.
"""

from __future__ import annotations

import re
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.model.prompt import TASK

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

_FOLDER = Path(__file__).parent.parent / "rosters" / "tasks"
_NAME = re.compile(r"\{\{(\w+)\}\}")
_promoted: ContextVar[Mapping[str, str] | None] = ContextVar("atlas_leads", default=None)


@cache
def filed() -> dict[str, str]:
    """The files' texts, by the names of the prompts: `task.PART`."""
    return {TASK + path.stem: _joined(path.read_text(encoding="utf-8")) for path in sorted(_FOLDER.glob("*.md"))}


def variables(text: str) -> frozenset[str]:
    """The names that stand for something in a text."""
    return frozenset(_NAME.findall(text))


@contextmanager
def leading(promoted: Mapping[str, str]) -> Generator[None]:
    """Put these texts, by the prompts' names, in the place of the files' while the body runs, in all its tasks."""
    token = _promoted.set(promoted)
    try:
        yield
    finally:
        _promoted.reset(token)


def asked_by(part: str) -> tuple[str, str]:
    """The prompt that opens this part's question: its name, and the text that leads."""
    name = TASK + part
    return name, (_promoted.get() or {}).get(name) or filed()[name]


def lead(part: str, **known: object) -> str:
    """What opens this part's question, with what is known put in."""
    return _NAME.sub(lambda found: str(known[found[1]]), asked_by(part)[1])


def _joined(text: str) -> str:
    return "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in text.strip().split("\n\n"))
