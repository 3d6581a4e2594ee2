"""What work may cost at most, and what of that is spent."""

from __future__ import annotations

from pydantic import Field

from atlas_mcp.model._base import Frozen


class Budget(Frozen):
    """Limits of a run, each of them hard; None is no limit. Zero allows nothing."""

    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0, description="Tokens in and out.")
    turns: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0, description="Time at work; waiting for an answer is none.")


class RunSpending(Frozen):
    """What a run has spent or reserved, and what is left of its budget, if it has one."""

    run_id: str
    turns: int
    tokens: int
    usd: float
    left: Budget | None = None


class Spending(Frozen):
    """What a caller has spent or reserved since 00:00 UTC, what is left of the day's limit, and the open runs."""

    usd: float
    tokens: int
    unpriced_tokens: int = Field(default=0, description="Of models whose price is not known.")
    limit_usd: float | None = None
    left_usd: float | None = None
    runs: list[RunSpending] = Field(default_factory=list[RunSpending])
