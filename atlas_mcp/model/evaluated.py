"""Evaluations: a variant that did the examples of a set, what each attempt came to, and what it was scored by."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.example import Example
from atlas_mcp.model.result import Check
from atlas_mcp.model.usage import Usage

NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$"


class Variant(Frozen):
    """What does the examples: the home as it stands, but for what is named here.

    `roster` is a roster file's path, `model` the provider:name that answers for every agent that the roster gives no
    model of its own, `prompts` are texts by their names (persona.AGENT, task.PART).
    """

    name: str = Field(pattern=NAME)
    roster: str | None = None
    model: str | None = None
    prompts: dict[str, str] = Field(default_factory=dict[str, str])


class Attempt(Frozen):
    """One example done once. A `failed` one counts as the worst in every score of quality; one that was `cut`, because
    the evaluation's own budget was spent, counts for nothing."""

    example: str
    repeat: int = 1
    status: Literal["completed", "failed", "cut"]
    output: str = ""
    error: str | None = None
    checks: list[Check] = Field(default_factory=list[Check])
    sources: list[str] = Field(default_factory=list[str], description="Those that its evidence names.")
    seconds: float = 0.0
    usage: Usage = Usage()
    trace_id: str | None = None
    ratings: dict[str, float] | None = Field(
        default=None, description="Each criterion's mean by the common raters; None until they rated it."
    )
    rating_usage: Usage = Usage()
    unrated: str | None = Field(default=None, description="Why nobody rated it.")
    scores: dict[str, float] = Field(default_factory=dict[str, float])

    @property
    def key(self) -> tuple[str, int]:
        """What it is an attempt at."""
        return self.example, self.repeat


class Evaluation(Frozen):
    """A variant on a set, kept as it goes on. `judge` tells by whom it was rated: only what the same raters rated can
    be compared by ratings."""

    name: str = Field(pattern=NAME)
    suite: str
    variant: Variant
    digest: str = Field(description="Of all that the variant is: roster, prompts and models.")
    judge: str = Field(description="Of all that the raters are.")
    models: tuple[str, ...] = Field(default=(), description="Those that answered for the variant's agents.")
    repeat: int = 1
    examples: tuple[Example, ...]
    attempts: tuple[Attempt, ...] = ()
    began_at: datetime
    ended_at: datetime | None = None

    @property
    def means(self) -> dict[str, float]:
        """Each score's mean: of an example's repeats first, then of the examples."""
        by_score: dict[str, list[float]] = {}
        for scores in self.by_example().values():
            for score, value in scores.items():
                by_score.setdefault(score, []).append(value)
        return {score: sum(values) / len(values) for score, values in by_score.items()}

    @property
    def usage(self) -> Usage:
        """All that it took, the rating too."""
        return sum((a.usage + a.rating_usage for a in self.attempts), Usage())

    def by_example(self) -> dict[str, dict[str, float]]:
        """Each example's scores, on the mean of its repeats; those that were cut are left out."""
        found: dict[str, dict[str, list[float]]] = {}
        for attempt in self.attempts:
            for score, value in attempt.scores.items():
                found.setdefault(attempt.example, {}).setdefault(score, []).append(value)
        return {e: {s: sum(vs) / len(vs) for s, vs in scores.items()} for e, scores in found.items()}


class Estimate(Frozen):
    """What an evaluation will probably take: attempts, tokens, and dollars where the prices are known.

    `unknown` counts the attempts at examples that do not say what their run took: they are not in it.
    """

    attempts: int
    tokens: int
    cost_usd: float | None
    unknown: int = 0
    free: bool = Field(default=False, description="Whether only models answer that cost nothing.")

    def __add__(self, other: Estimate) -> Estimate:
        costs = (self.cost_usd, other.cost_usd)
        return Estimate(
            attempts=self.attempts + other.attempts,
            tokens=self.tokens + other.tokens,
            cost_usd=None if None in costs else sum(c for c in costs if c is not None),
            unknown=self.unknown + other.unknown,
            free=self.free and other.free,
        )
