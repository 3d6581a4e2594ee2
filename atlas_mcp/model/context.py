"""What an agent is given to go by: sections, each with its share of a budget of tokens, and what was left out of them.

A section's items are what they are and no orders: whoever shows them to an agent delimits them as data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen, Tolerant
from atlas_mcp.model.guard import Finding
from atlas_mcp.model.tokens import estimate_tokens

SectionName = Literal["core", "task", "memories", "facts", "procedures", "recent"]
SECTIONS: tuple[SectionName, ...] = ("core", "task", "memories", "facts", "procedures", "recent")
"""In the order in which they are given: what changes least comes first, so that a prompt's beginning stays the same."""

REMEMBERED: tuple[SectionName, ...] = ("memories", "facts", "procedures")
"""The sections of which there is usually more than fits: what is best and new in them is chosen."""

Why = Literal["repeats", "no room"]


@dataclass(frozen=True)
class Counter:
    """How tokens are counted. `reserve` is the share of a budget that is left free, for what the method is wrong by."""

    name: str
    count: Callable[[str], int]
    reserve: float = 0.0

    def room(self, budget: int) -> int:
        """How much of the budget may be used."""
        return int(budget * (1 - self.reserve))


ESTIMATE = Counter("estimate by classes of characters", estimate_tokens, reserve=0.1)
"""The counting that needs no tokenizer; see `model.tokens`. An exact one takes its place where a caller has one."""


class ContextItem(Tolerant):
    """One thing that an agent may be given. `score`, 0 to 1, says how much it has to do with what is asked; `scope`
    who may see it: `all`, `agent:NAME` or `team:NAME`. Items of `core` and `task` are given whatever they score. The
    guard's are `findings`, and `note`: what agents are told of the text beside it."""

    id: str
    section: SectionName
    text: str
    source: str = ""
    kind: str = ""
    scope: str = "all"
    score: float = Field(default=1.0, ge=0, le=1)
    at: datetime | None = None
    note: str = ""
    findings: tuple[Finding, ...] = ()


class Share(Frozen):
    """What a section gets of the budget: `least` is kept for it while it has use for it, `most` is never exceeded."""

    least: float = Field(default=0.0, ge=0, le=1)
    most: float = Field(default=1.0, ge=0, le=1)


class Shape(Frozen):
    """A budget in tokens, and each section's share of it. A section that has none gets nothing."""

    budget: int = Field(gt=0)
    shares: dict[SectionName, Share]


class LeftOut(Frozen):
    """So many items of a section that are not given, of so many tokens, and why."""

    section: SectionName
    why: Why
    items: int
    tokens: int


class Context(Frozen):
    """What an agent is given: the items, in order, and what they come to. `counted_by` names the counting."""

    items: tuple[ContextItem, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    tokens: int = 0
    budget: int
    counted_by: str

    def of(self, *sections: SectionName) -> list[ContextItem]:
        """The items of these sections, in order."""
        return [item for item in self.items if item.section in sections]

    def told(self) -> dict[str, object]:
        """What a trace or a journal says of it: which items, and how many were left out; no texts."""
        return {
            "items": {name: [item.id for item in self.of(name)] for name in SECTIONS if self.of(name)},
            "left_out": [one.model_dump() for one in self.left_out],
            "tokens": self.tokens,
            "budget": self.budget,
            "counted_by": self.counted_by,
        }
