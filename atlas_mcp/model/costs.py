"""What work cost, added up by whom, for what, where and when."""

from __future__ import annotations

from datetime import date
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

CostsBy = Literal["agent", "team", "task", "project", "caller", "model", "day"]


class CostLine(Frozen):
    """What one of them cost; of turns that are under way it is what was reserved for them."""

    name: str = Field(description="The agent, team, run, project, caller, model or day; another caller is hashed.")
    goal: str | None = Field(default=None, description="Of a task of the home's own caller.")
    turns: int = 0
    tokens: int = 0
    usd: float = Field(default=0.0, description="Of the tokens whose price is known.")
    unpriced_tokens: int = Field(default=0, description="Of models whose price is not known.")


class Costs(Frozen):
    """The lines, the dearest first (days in their order), and what all of them come to. Days are those of UTC."""

    by: CostsBy
    since: date
    until: date
    lines: list[CostLine]
    total: CostLine
