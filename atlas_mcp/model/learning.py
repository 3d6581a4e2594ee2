"""What a run taught: what the librarian proposes to remember, how that is judged, and what is kept."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen, Tolerant
from atlas_mcp.model.memory_item import MemoryItem
from atlas_mcp.model.memory_kinds import EVERYBODY

LearningKind = Literal["fact", "procedure", "what_worked"]

MAX_PROPOSALS = 8
MAX_LEARNING = 600


class Proposal(Tolerant):
    """Something to remember. The evidence is a material, by its name, or an event of the run, as "event 12"."""

    kind: LearningKind
    text: str = Field(min_length=1, max_length=MAX_LEARNING)
    about: str = Field(default="", max_length=120, description="Its subject, in a few words.")
    audience: str = Field(default="all", max_length=120, description="Whom it helps: an agent, a team, or all.")
    source: str = Field(description="A material's name, or 'event N'.")
    quote: str = Field(default="", description="The words of that source, copied exactly.")
    key: str = Field(
        default="",
        max_length=120,
        description="Only where one thing can be true at a time: what it says of what, such as 'fee of a boat permit'.",
    )
    confidence: float = Field(default=0.5, ge=0, le=1)


class Mark(Tolerant):
    """How good the run's result is in one respect, and why; without a reason it does not count."""

    quality: str = Field(max_length=40)
    score: float = Field(ge=1, le=5)
    reason: str = Field(default="", max_length=600)


class Proposals(Tolerant):
    """All that is worth remembering of a run; often nothing is. And what the result is worth."""

    learnings: tuple[Proposal, ...] = Field(default=(), max_length=MAX_PROPOSALS)
    quality: tuple[Mark, ...] = Field(default=(), max_length=MAX_PROPOSALS)


class Learning(Tolerant):
    """What is remembered of a run: `agent` proposed it, `score` (1 to 5) is what it was judged at, `trust` how much it
    counts in a search beside what the caller gave (1)."""

    id: str
    kind: LearningKind
    text: str
    about: str = ""
    audience: str = "all"
    key: str = ""
    source: str
    quote: str = ""
    run_id: str
    agent: str
    score: float
    trust: float


class Known(Frozen):
    """Something that is remembered: a memory, or a passage of shared knowledge."""

    text: str
    memory: MemoryItem | None = None

    def replaced_by(self, text: str, key: str) -> bool:
        """Whether that text says another thing of the same: then it repeats nothing, however alike the words are."""
        if self.memory is None or not key:
            return False
        return self.memory.key == " ".join(key.split()) and self.memory.text != text


class Judged(Frozen):
    """A proposal and its judgement: `scores` by what was asked of it, `reason` says why it is not kept, or is empty.

    `repeats` is the memory that says the same: it gets the proposal's source.
    """

    learning: Learning
    scope: str = EVERYBODY
    project: str = ""
    repeats: MemoryItem | None = None
    confidence: float
    scores: dict[str, float]
    reason: str = ""

    @property
    def kept(self) -> bool:
        """Whether it is remembered."""
        return not self.reason
