"""Knowledge as callers see it: documents that all agents may search, and what a search of memory finds."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.memory_kinds import MemoryKind

MAX_DOCUMENT = 2_000_000
MAX_OBSERVATION = 20_000
MAX_NAME = 200
MAX_QUERY = 2_000
MAX_HITS = 50

CALLER_TRUST = 1.0
AGENT_TRUST = 0.6
"""How much a text counts beside an equally good match by somebody else: what the caller gave, and what an agent did."""


class Document(Frozen):
    """A shared document; lengths in characters. Its author is `caller` or `agent:NAME`."""

    id: str
    name: str
    project: str | None = None
    author: str
    chars: int
    chunks: int = Field(description="Passages that it is searched by.")
    revision: int = Field(description="Counts up each time that another text is shared under this name.")
    changed: bool = Field(default=True, description="False when the same text was there already.")
    updated_at: datetime


class Hit(Frozen):
    """A passage that was found; `score` and the shares of `why` are 0 to 1, and compare within one answer."""

    # `why`: words, letters, vectors and graph beside the best that each found, letta, or supersedes for one that took
    # the place of another that was found. Clients are sent every word of what is above and below.
    id: str
    kind: MemoryKind
    text: str
    source: str = Field(description="The document, block, archive or run.")
    agent: str | None = Field(default=None, description="Whose it is.")
    score: float
    when: datetime | None = None
    trust: float = Field(default=CALLER_TRUST, description="1 for what you gave, less for what agents wrote.")
    author: str = "caller"
    superseded_by: str | None = None
    why: dict[str, float] = Field(default_factory=dict)


class Recalled(Frozen):
    """What was found, best first; `notes` say what was not searched, `repeated` how many say the same as others."""

    hits: list[Hit]
    repeated: int = 0
    notes: list[str] = Field(default_factory=list)
