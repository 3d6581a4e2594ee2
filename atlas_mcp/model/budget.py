"""What a piece of work may cost at most."""

from __future__ import annotations

from pydantic import Field

from atlas_mcp.model._base import Frozen


class Budget(Frozen):
    """Limits of a run, each of them hard; None is no limit. Zero allows nothing."""

    usd: float | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0, description="Tokens in and out.")
    turns: int | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, ge=0, description="Time at work; waiting for an answer is none.")
