"""A memory: a text that is kept with its author, source, trust and history."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.knowledge import AGENT_TRUST, CALLER_TRUST
from atlas_mcp.model.memory import Block
from atlas_mcp.model.memory_kinds import EVERYBODY, NoteKind

MAX_MEMORY = 20_000
MAX_LISTED = 200
QUOTED_TRUST = 0.8
"""How much what an agent or run stored counts where it quotes a text; without that it counts as an agent's word."""
CALLER = "caller"

Change = Literal["created", "merged", "corrected", "undone", "restored"]
"""What made a revision: its first text, the same text from another source, a correction, its being taken back, or an
earlier revision's text again."""


class New(Frozen):
    """Something to remember. `key` names what it says of its subject where only one thing can be true: what has the
    same key, kind, scope and project takes the older one's place.

    `author` is `caller`, `agent:NAME` or `atlas`; `trust` 0 to 1, by default its author's. `id` is for one who may come
    twice with the same. With a `reason` it is not remembered, only kept for a while with why.
    """

    kind: NoteKind
    text: str
    about: str = ""
    scope: str = EVERYBODY
    project: str = ""
    key: str | None = None
    source: str = ""
    quote: str = ""
    author: str = CALLER
    trust: float | None = Field(default=None, ge=0, le=1)
    run_id: str | None = None
    turn_id: str | None = None
    confidence: float | None = Field(default=None, ge=0, le=1)
    scores: dict[str, float] | None = None
    score: float | None = None
    reason: str = ""
    lifetime: timedelta | None = Field(default=None, description="None is its kind's own.")
    id: str | None = None

    @property
    def weight(self) -> float:
        """Its trust, or its author's."""
        if self.trust is not None:
            return self.trust
        return CALLER_TRUST if self.author == CALLER else AGENT_TRUST


class MemoryRevision(Frozen):
    """One text that a memory had, whose it is, and by which run it came; it took the place of the one before it."""

    revision: int
    text: str
    source: str = ""
    operation: Change
    author: str
    run_id: str | None = None
    at: datetime


class MemoryItem(Frozen):
    """A memory as it stands. `author` is `caller`, `agent:NAME` or `atlas`."""

    id: str
    kind: NoteKind
    text: str
    about: str = Field(default="", description="Its subject.")
    scope: str = Field(default=EVERYBODY, description="Whom it is for: all, agent:NAME or team:NAME.")
    project: str | None = None
    key: str | None = Field(default=None, description="What it says of its subject; a newer one takes its place.")
    revision: int = Field(description="Counts up with each change.")
    source: str = Field(default="", description="Where it is from; several stand each on a line.")
    quote: str = ""
    author: str
    trust: float = Field(description="1 for what you said, less for what agents wrote.")
    run_id: str | None = Field(default=None, description="The run that stored it.")
    turn_id: str | None = None
    confidence: float | None = None
    score: float | None = Field(default=None, description="1 to 5: how much it was judged to be worth keeping.")
    reason: str = Field(default="", description="Why it is not remembered; empty for one that is.")
    superseded_by: str | None = Field(default=None, description="Id of the memory that took its place.")
    created_at: datetime
    updated_at: datetime
    expires_at: datetime | None = Field(default=None, description="When it is deleted.")
    history: list[MemoryRevision] | None = Field(default=None, description="Its revisions, newest first, if asked for.")

    @property
    def current(self) -> bool:
        """Whether it is remembered now: neither refused, nor taken back, nor superseded."""
        return not self.reason and self.superseded_by is None


class Undone(Frozen):
    """What was taken back: memories as they now stand, ids of facts that are held no more, blocks as they are again."""

    memories: list[MemoryItem] = Field(default_factory=list[MemoryItem])
    facts: list[str] = Field(default_factory=list[str])
    blocks: list[Block] = Field(default_factory=list[Block])
