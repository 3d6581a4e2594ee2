"""What two ways of doing the same work come to when they are compared, score by score."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

Verdict = Literal["better", "worse", "mixed", "noise"]
"""What B is beside A. `mixed`: better in one thing and worse in another; `noise`: no more than chance explains."""

Family = Literal["quality", "expense"]
"""What a score answers: how good the work is (more is better), or what it took (less is better)."""


class Difference(Frozen):
    """How B differs from A in one score, over the examples that both did. All differences are B minus A."""

    score: str
    family: Family
    examples: int
    mean_a: float
    mean_b: float
    difference: float = Field(description="On the mean of the examples, in the score's own unit.")
    low: float | None = Field(default=None, description="Ends of the interval; None where so few tell nothing.")
    high: float | None = None
    effect: float | None = Field(
        default=None, description="Hedges' g of paired differences; None where all differ alike, or none does."
    )
    p: float = Field(ge=0, le=1, description="How often chance alone gives a difference as large.")
    p_adjusted: float = Field(ge=0, le=1, description="The same with all scores of its family in view.")
    verdict: Verdict
    needed: int | None = Field(
        default=None, description="Examples that a difference as seen takes to be told from noise; None if unknown."
    )
    text: str


class Comparison(Frozen):
    """Two variants on the same examples: what each score says, and what all of them come to.

    `quality` and `expense` are verdicts on B; only `quality` says whether B does better work.
    """

    a: str
    b: str
    examples: int
    alpha: float = Field(description="How often a difference may be seen where there is none.")
    differences: tuple[Difference, ...]
    quality: Verdict
    expense: Verdict
    text: str

    def of(self, score: str) -> Difference | None:
        """What was found of that score."""
        return next((d for d in self.differences if d.score == score), None)
