"""What a team task comes to, and how it was judged."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import ConfigDict, Field
from pydantic.json_schema import SkipJsonSchema

from atlas_mcp.model._base import Tolerant
from atlas_mcp.model.guard import Held
from atlas_mcp.model.learning import Learning

PASS_MARK = 4.0


class Evidence(Tolerant):
    """A claim, the source it comes from, and the words of that source."""

    claim: str
    source: str
    quote: str = ""


class Verified(Tolerant):
    """Where the words were found when they were looked up: in a material, or in a text from outside that an agent of
    the run was given, such as a page that it fetched. The source's name says which: for a page it is the address."""

    kind: Literal["material", "source"]
    title: str = ""
    fetched_at: datetime | None = Field(default=None, description="When the agent was given it; None for a material.")


class Cited(Evidence):
    """Evidence in a result. What could not be found is not here but in `missing`, with the reason."""

    model_config = ConfigDict(from_attributes=True)

    verified: Verified | None = Field(default=None, description="None in results made before this was told.")


class Rating(Tolerant):
    """A score from 1 to 5 on one criterion, with its reason, by an agent that is not the author. 4.0 passes."""

    criterion: str
    score: float = Field(ge=1, le=5)
    reason: str
    rater: str
    round: int = Field(ge=1)
    section: str = ""
    quote: str = Field(default="", description="The words of the text that it refers to.")


class Check(Tolerant):
    """What was looked up in the text without asking any agent, and what came of it."""

    name: str = Field(description="sources, quotations, numbers, length, orders or criteria.")
    passed: bool
    text: str
    section: str = ""


class Round(Tolerant):
    """One round of rating: what it came to, and what had been changed since the one before."""

    round: int
    mean: float | None = Field(default=None, description="None where nobody rated it.")
    criteria: dict[str, float] = Field(default_factory=dict[str, float])
    checks_failed: int = 0
    changed: str = ""


class Missing(Tolerant):
    """Work that was asked for and is not in the result, and why."""

    agent: str
    what: str
    why: str


class Output(Tolerant):
    """A text that an agent kept for the caller: the resource `atlas://runs/{run_id}/files/{name}` gives it."""

    name: str
    chars: int
    path: str = Field(default="", description="Where it lies as a file, told to the home's owner only.")


class Result(Tolerant):
    """What callers get at the end of a team task; of several rounds, the best."""

    output: str
    evidence: list[Cited] = Field(default_factory=list[Cited])
    ratings: list[Rating] = Field(default_factory=list[Rating])
    rounds: int = 1
    best_round: int = 1
    passed: bool = Field(default=False, description="Whether every criterion's mean reached 4.0, and no check failed.")
    agreement: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Of a debate: the share of pairs of debaters who vote alike on a point, on the mean of all points.",
    )
    disagreements: list[str] = Field(default_factory=list[str])
    unmet: list[str] = Field(default_factory=list[str], description="Criteria below 4.0 in the best round.")
    missing: list[Missing] = Field(default_factory=list[Missing])
    learned: list[Learning] = Field(default_factory=list[Learning], description="What of this run is remembered.")
    checks: list[Check] = Field(default_factory=list[Check], description="Of the best round, before any rater.")
    compared: list[Round] = Field(default_factory=list[Round])
    stopped: str | None = Field(default=None, description="Why it ended early, and what was refused.")
    files: list[Output] = Field(default_factory=list[Output], description="What agents saved beside the output.")
    notes: list[str] = Field(default_factory=list[str], description="What to know when relying on it.")
    guard: SkipJsonSchema[list[Held]] = Field(default_factory=list[Held])
    """What agents handed in that did not pass the guard, and what happened next. Not in the schema, which every client
    reads in every conversation."""
    quality: SkipJsonSchema[dict[str, float]] = Field(default_factory=dict[str, float])
    """The librarian's scores, 1 to 5, with their `mean`; empty where its check is off. Not in the schema either."""
