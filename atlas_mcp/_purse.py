"""What attempts and ratings will probably take, and the evaluation's own budget, which is shared out by that.

A team task gets its share as its own budget, which is hard. A turn and a rating are reserved by estimate, and what of
them is not begun when it no longer fits is told; what is at work may take more than was reserved for it. With each
attempt its rating is put aside too: what nobody rates would be spent for nothing. All of it is charged to the day of
whoever evaluates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp._variants import AT_ONCE
from atlas_mcp.errors import AtlasError, BudgetSpent
from atlas_mcp.model.usage import Usage
from atlas_mcp.watch.estimate import expected_tokens

if TYPE_CHECKING:
    from atlas_mcp._variants import Plan
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.example import Example
    from atlas_mcp.watch.charging import Charging
    from atlas_mcp.watch.ledger import Reservation

TYPICAL_TEXT = 2_000
"""Tokens of a text that raters are given."""

Tokens = tuple[int, int]

SPENT = "the evaluation's budget has no room for it"
DAY_SPENT = (
    "what is left of today's ATLAS_DAILY_USD has no room for it: start the evaluation again under its name when the "
    "day (UTC) is over, or raise that limit"
)


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
    """The budget in dollars, and what of it is spent or put aside, by attempts' keys. Without one all is granted.

    `refusal` says whose it is. What is begun is charged to `caller`.
    """

    usd: float | None
    judge: Plan
    charging: Charging
    caller: Caller
    spent: float = 0.0
    refusal: str = SPENT
    at_work: dict[str, float] = field(default_factory=dict[str, float])
    to_be_rated: dict[str, float] = field(default_factory=dict[str, float])
    charged: dict[str, Reservation] = field(default_factory=dict[str, "Reservation"])

    @property
    def free(self) -> float:
        """What is neither spent nor put aside."""
        return (self.usd or 0.0) - self.spent - sum(self.at_work.values()) - sum(self.to_be_rated.values())

    async def take(self, key: str, plan: Plan, example: Example, left: int, name: str) -> float | None:
        """A share for an attempt of the evaluation `name`, with its rating put aside too; None: no limit.

        A team task gets its part of all that is free, with `left` attempts that have not begun; a turn what it will
        probably take. BudgetSpent where they do not fit.
        """
        tokens = attempt_tokens(example) or (0, 0)
        least, share = cost(plan, tokens), None
        if self.usd is not None:
            rating, free = self._rating(example), self.free
            if free <= 0 or (least or 0.0) + rating > free:
                raise BudgetSpent(f"{self.refusal}.", limit="usd")
            part = free / max(1, min(left, AT_ONCE - len(self.at_work))) - rating
            share = max(least or 0.0, part) if example.work.kind == "team_task" else least or 0.0
            self.at_work[key], self.to_be_rated[key] = share, rating
        try:
            await self._charge(key, plan, tokens, least if share is None else share, name)
        except AtlasError:
            self.at_work.pop(key, None)
            self.to_be_rated.pop(key, None)
            raise
        return share

    async def attempted(self, key: str, used: Usage, *, rate: bool) -> None:
        """Count what an attempt took; what was put aside for its rating stays, if there is something to `rate`."""
        self.at_work.pop(key, None)
        if not rate:
            self.to_be_rated.pop(key, None)
        await self._settle(key, used)

    async def take_rating(self, key: str, example: Example, name: str) -> None:
        """Room for a rating: it was put aside with the attempt, or is now. BudgetSpent where it does not fit."""
        if self.usd is not None and key not in self.to_be_rated:
            if self._rating(example) > self.free:
                raise BudgetSpent(f"{self.refusal}.", limit="usd")
            self.to_be_rated[key] = self._rating(example)
        tokens = rating_tokens(self.judge, example)
        await self._charge(key, self.judge, tokens, cost(self.judge, tokens), name)

    async def rated(self, key: str, used: Usage) -> None:
        """Count what a rating took."""
        self.to_be_rated.pop(key, None)
        await self._settle(key, used)

    async def _charge(self, key: str, plan: Plan, tokens: Tokens, usd: float | None, name: str) -> None:
        estimate = Usage(turns=1, input_tokens=tokens[0], output_tokens=tokens[1], cost_usd=usd)
        model, run_id = " + ".join(plan.handles), f"evaluation {name}"
        self.charged[key] = await self.charging.reserve(
            self.caller, work="evaluation", run_id=run_id, model=model, estimate=estimate
        )

    async def _settle(self, key: str, used: Usage) -> None:
        self.spent += used.cost_usd or 0.0
        # What failed before it took a turn frees all that was reserved for it.
        await self.charging.settle(self.charged.pop(key), used if used.turns else Usage(cost_usd=0.0))

    def _rating(self, example: Example) -> float:
        return cost(self.judge, rating_tokens(self.judge, example)) or 0.0
