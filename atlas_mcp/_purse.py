"""What attempts and ratings will probably take, and the evaluation's own budget, which is shared out by that.

A team task gets its share as its own budget, which is hard. A turn and a rating are reserved by estimate, and what of
them is not begun when it no longer fits is told; what is at work may take more than was reserved for it. With each
attempt its rating is reserved too: what nobody rates would be spent for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp._variants import AT_ONCE
from atlas_mcp.errors import BudgetSpent
from atlas_mcp.watch.estimate import expected_tokens

if TYPE_CHECKING:
    from atlas_mcp._variants import Plan
    from atlas_mcp.model.example import Example

TYPICAL_TEXT = 2_000
"""Tokens of a text that raters are given."""

Tokens = tuple[int, int]


def attempt_tokens(example: Example) -> Tokens | None:
    """Tokens in and out that an attempt will probably take: as many as the run that the example is made of."""
    if example.baseline.input_tokens:
        return example.baseline.input_tokens, example.baseline.output_tokens
    return expected_tokens(example.work.goal) if example.work.kind == "turn" else None


def rating_tokens(judge: Plan, example: Example) -> Tokens:
    """Tokens in and out that rating an attempt will probably take: a typical turn of each rater."""
    raters = sum(len(team.workers) for team in judge.roster.teams if team.kind == "rating")
    asked, answered = expected_tokens(example.work.goal)
    return raters * (asked + TYPICAL_TEXT), raters * answered


def cost(plan: Plan, tokens: Tokens) -> float | None:
    """Dollars for so many tokens of the dearest model that may answer; None where one's price is not known."""
    costs = [plan.models.cost(handle, *tokens) for handle in plan.handles]
    return None if None in costs else max(cost for cost in costs if cost is not None)


@dataclass
class Purse:
    """The budget in dollars, and what of it is spent or put aside, by attempts' keys. Without one all is granted."""

    usd: float | None
    judge: Plan
    spent: float = 0.0
    at_work: dict[str, float] = field(default_factory=dict[str, float])
    to_be_rated: dict[str, float] = field(default_factory=dict[str, float])

    @property
    def free(self) -> float:
        """What is neither spent nor put aside."""
        return (self.usd or 0.0) - self.spent - sum(self.at_work.values()) - sum(self.to_be_rated.values())

    def take(self, key: str, plan: Plan, example: Example, left: int) -> float | None:
        """A share for an attempt, with its rating put aside too; BudgetSpent where they do not fit. None: no limit.

        A team task gets its part of all that is free, with `left` attempts that have not begun; a turn what it will
        probably take.
        """
        if self.usd is None:
            return None
        least, rating, free = cost(plan, attempt_tokens(example) or (0, 0)) or 0.0, self._rating(example), self.free
        if free <= 0 or least + rating > free:
            raise BudgetSpent("the evaluation's budget has no room for it.", limit="usd")
        part = free / max(1, min(left, AT_ONCE - len(self.at_work))) - rating
        self.at_work[key] = max(least, part) if example.work.kind == "team_task" else least
        self.to_be_rated[key] = rating
        return self.at_work[key]

    def attempted(self, key: str, used: float, *, rate: bool) -> None:
        """Count what an attempt took; what was put aside for its rating stays, if there is something to `rate`."""
        self.spent += used
        self.at_work.pop(key, None)
        if not rate:
            self.to_be_rated.pop(key, None)

    def may_rate(self, key: str, example: Example) -> bool:
        """Whether there is room for a rating: it was put aside with the attempt, or is now."""
        if self.usd is not None and key not in self.to_be_rated:
            if self._rating(example) > self.free:
                return False
            self.to_be_rated[key] = self._rating(example)
        return True

    def rated(self, key: str, used: float) -> None:
        """Count what a rating took."""
        self.spent += used
        self.to_be_rated.pop(key, None)

    def _rating(self, example: Example) -> float:
        return cost(self.judge, rating_tokens(self.judge, example)) or 0.0
