"""Runs: durable pieces of work, their states, and their journal."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from atlas_mcp.errors import IllegalChange
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.plan import Plan
from atlas_mcp.model.question import Question
from atlas_mcp.model.result import Result
from atlas_mcp.model.usage import Usage

RunKind = Literal["team_task", "turn", "group", "rating"]
RunStatus = Literal["queued", "working", "awaiting_answer", "completed", "failed", "cancelled"]

LEGAL: dict[RunStatus, frozenset[RunStatus]] = {
    "queued": frozenset({"working", "cancelled", "failed"}),
    "working": frozenset({"awaiting_answer", "completed", "failed", "cancelled"}),
    "awaiting_answer": frozenset({"working", "failed", "cancelled"}),
    "completed": frozenset(),
    "failed": frozenset(),
    "cancelled": frozenset(),
}
ENDED: frozenset[RunStatus] = frozenset(s for s, following in LEGAL.items() if not following)


def change(now: RunStatus, to: RunStatus) -> RunStatus:
    """The new status, or IllegalChange when a run in `now` cannot become `to`. The only judge of such changes."""
    if to not in LEGAL[now]:
        raise IllegalChange(f"a run that is {now} cannot become {to}.", argument="run_id")
    return to


class Event(Frozen):
    """One entry of a run's journal; `seq` counts from 1 without gaps, `text` is written for people."""

    seq: int
    at: datetime
    actor: str = Field(description="The agent, 'caller', or 'atlas'.")
    type: str
    text: str
    turn_id: str | None = None
    cause: int | None = Field(default=None, description="The seq of the event that led to it.")
    data: dict[str, Any] = Field(default_factory=dict)


class Progress(Frozen):
    """How far a run is: turns done of those known so far, and what is going on in words."""

    done: int = 0
    total: int = 0
    text: str = "queued"


class Run(Frozen):
    """A run as callers see it."""

    run_id: str
    kind: RunKind = "team_task"
    status: RunStatus
    goal: str
    plan: Plan | None = None
    progress: Progress = Progress()
    events: list[Event] = Field(default_factory=list[Event])
    question: Question | None = Field(default=None, description="What it waits for: call answer_run.")
    result: Result | None = None
    reply: str | None = Field(
        default=None, description="The reply, for a run that is one turn; who said what, for a group's."
    )
    usage: Usage = Usage()
    budget: Budget | None = None
    error: str | None = None
    trace_id: str | None = None
    trace_ids: SkipJsonSchema[list[str]] = Field(default_factory=list[str])
    """All traces that show something of it, the call that asked for it first. Not in the schema, which every client
    reads in every conversation."""
    created_at: datetime
    updated_at: datetime
    note: str | None = Field(default=None, description="What to know or to do next, in words.")
