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
    """A passage that a search found. `id` names it within its kind; `score` is between 0 and 1.

    `why` says which parts of the search found it (words, letters, vectors, graph, letta), and how well, beside the best
    that each found, from 0 to 1; `supersedes` is there for one that took the place of another that was found.
    """

    id: str
    kind: MemoryKind
    text: str
    source: str = Field(description="Where it stands: a document's name, a block's label, an archive, a run.")
    agent: str | None = Field(default=None, description="Whose memory it is, or which agent shared it.")
    score: float = Field(description="0 to 1; comparable within one answer.")
    when: datetime | None = None
    trust: float = Field(default=CALLER_TRUST, description="1 for what you gave, less for what agents wrote.")
    author: str = "caller"
    superseded_by: str | None = Field(default=None, description="Id of what took its place.")
    why: dict[str, float] = Field(default_factory=dict, description="What found it: 0 to 1.")


class Recalled(Frozen):
    """What a search of memory found, best first; `notes` say what could not be searched, `repeated` how many hits were
    left out because a better one says the same.
    """

    hits: list[Hit]
    repeated: int = 0
    notes: list[str] = Field(default_factory=list)
