"""The kinds of what is remembered, how long each is kept, and whom it is for."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

MemoryKind = Literal[
    "working", "short_term", "episodic", "long_term", "procedural", "knowledge", "archive", "block", "fact"
]
"""All that a search finds. `knowledge` are shared documents, `archive` and `block` are agents' own, in Letta, `fact` is
of the knowledge graph; the others are memories, and results of runs are `episodic`."""

NoteKind = Literal["working", "short_term", "episodic", "long_term", "procedural"]
"""What is kept as a memory: what one is at, what happened of late, what happened in a run or a project, what is true,
and how things are done."""

LIFETIMES: dict[NoteKind, timedelta | None] = {
    "working": timedelta(hours=1),
    "short_term": timedelta(hours=72),
    "episodic": timedelta(days=30),
    "long_term": None,
    "procedural": None,
}
"""How long each is kept after it was last written; none is until somebody deletes it. What is episodic is kept as long
as its run, or its project, goes on, and so long after that."""

REFUSED = timedelta(days=30)
"""How long what was judged not worth it, or was taken back, is kept with the reason."""

EVERYBODY = "all"
SCOPE = r"all|agent:[a-z][a-z0-9_]{0,99}|team:[a-z][a-z0-9_]{0,99}"
"""Whom a memory is for: all agents of the caller, one of them, or a team."""


def scopes_of(agent: str, team: str | None) -> tuple[str, ...]:
    """What that agent sees: what is for all, for it, and for its team."""
    return (EVERYBODY, f"agent:{agent}", *((f"team:{team}",) if team else ()))
