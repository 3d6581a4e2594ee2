"""What works and what does not, as `get_status` tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.alert import Alert
from atlas_mcp.model.budget import Spending

Health = Literal["ok", "warning", "failing", "idle"]


class Room(Frozen):
    """One part of ATLAS: how it is, and what to do where it is not well. `idle` has not been needed yet."""

    name: str
    health: Health
    text: str
    next_step: str | None = None


class Status(Frozen):
    """The whole: `ok` is true when no room is failing."""

    ok: bool
    version: str
    home: str
    caller: str
    model: str
    offline: bool = Field(description="Whether the built-in offline model answers, because none is configured.")
    roster: str
    agents: int
    open_runs: int
    rooms: list[Room]
    spending: Spending | None = Field(default=None, description="Of today, and what is left; null before it is needed.")
    alerts: list[Alert] = Field(default_factory=list[Alert], description="What is beyond its threshold now.")
    notes: list[str] = Field(default_factory=list[str], description="What to know or to do, in words.")
