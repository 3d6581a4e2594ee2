"""Proposals: what could be changed, by what evidence, and what became of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

Kind = Literal["model", "worker", "timeout", "cache"]
Setting = Literal["model", "left_out", "turn_seconds"]
Risk = Literal["low", "medium", "high"]
Status = Literal["proposed", "applied", "kept", "taken_back", "dismissed", "outdated"]

SURE = 0.8
"""The confidence over which a safe change may be applied by itself."""

IN_FORCE: tuple[Status, ...] = ("applied", "kept")


class Change(Frozen):
    """What would be set. With a `setting` ATLAS can do it here, and undo it; else `lines` say it to a person.

    `model`: the agent answers with the model `to`, as provider:name. `left_out`: the worker gets no part in plans.
    `turn_seconds`: a turn of the agent is given up after `to` seconds.
    """

    agent: str = ""
    setting: Setting | None = None
    to: str = ""
    lines: tuple[str, ...] = Field(default=(), description="The same by hand: what to write where.")


class Gain(Frozen):
    """What it is expected to save, counted over the time that was looked at."""

    amount: float
    unit: str


class Draft(Frozen):
    """A proposal as the record gives rise to it. The same `id` is the same proposal at every look."""

    id: str
    kind: Kind
    subject: str
    text: str
    change: Change
    evidence: dict[str, Any]
    gain: Gain
    risk: Risk
    confidence: float = Field(ge=0, le=1)
    safe: bool


class Proposal(Draft):
    """A proposal that is kept. `measured` tells how it was before it was applied, and since."""

    status: Status
    measured: dict[str, Any] | None = None
    made_at: datetime
    decided_at: datetime | None = None

    @property
    def applicable(self) -> bool:
        """Whether ATLAS can apply it, and undo it."""
        return self.change.setting is not None
