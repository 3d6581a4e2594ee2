"""One run looked at closely: its turns with all that went into them and came out, and what was found in its traces.

Moments are seconds since the run was asked for. Texts are whole here: whoever shows them says how much of them.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.run import Run
from atlas_mcp.model.usage import Usage

Outcome = Literal["done", "failed", "unfinished", "at work"]
StepKind = Literal["model", "tool", "memory", "other"]


class Piece(Frozen):
    """A section of what an agent was given: which, under what name or id, from where, and its words."""

    tag: str
    name: str = ""
    source: str = ""
    text: str = ""


class Omission(Frozen):
    """So many things of a section that an agent was not given, and why."""

    section: str
    why: str
    items: int
    tokens: int


class Step(Frozen):
    """What happened within a turn: a model call, a tool call, a look into memory; what it was given, what it gave."""

    kind: StepKind
    name: str
    start: float
    seconds: float
    ok: bool = True
    given: str = ""
    gave: str = ""
    problem: str = ""


class TurnLook(Frozen):
    """A turn. `start` is when it was wanted, `waited` how long it was until it was under way: for its lock, for an
    agent or a conversation to be made. `left_out` is None where no trace tells it."""

    turn_id: str
    agent: str
    team: str = ""
    doing: str = ""
    start: float
    seconds: float
    waited: float = 0.0
    outcome: Outcome
    model: str = ""
    usage: Usage = Usage()
    context: list[Piece] = Field(default_factory=list[Piece])
    left_out: list[Omission] | None = None
    retries: list[str] = Field(default_factory=list[str])
    steps: list[Step] = Field(default_factory=list[Step])
    traced: bool = Field(default=False, description="Whether the steps are from a trace; else from the journal alone.")
    reply: str = ""
    memory: list[str] = Field(default_factory=list[str], description="What it changed in the agent's memory.")
    error: str = ""

    @property
    def end(self) -> float:
        """When it was over, or as late as the run was looked at."""
        return self.start + self.seconds


class Asked(Frozen):
    """A question of the run to a person: what, by whom, the answer, and how long it was open."""

    by: str
    text: str
    answer: str = ""
    answered_by: str = ""
    start: float
    seconds: float


class Charge(Frozen):
    """What the ledger has for one model."""

    model: str
    turns: int
    tokens: int
    usd: float | None


class Look(Frozen):
    """The whole. `traces` says where the finer detail is from, or why there is none."""

    run: Run
    seconds: float
    turns: list[TurnLook]
    asked: list[Asked]
    charges: list[Charge]
    traces: str
