"""Scenarios: how agents are to work together, as data: what is to be done, who answers what, what goes wrong meanwhile,
and what must hold of what came of it."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.plan import Mode
from atlas_mcp.model.price import Price
from atlas_mcp.model.run import RunStatus
from atlas_mcp.model.script import MAX_SECONDS, ModelError, Part, Rule
from atlas_mcp.model.task import DEFAULT_CRITERIA, MAX_CRITERIA, MAX_GOAL, MAX_MESSAGE, Criterion
from atlas_mcp.model.usage import Usage

NAME = r"^[a-z0-9][a-z0-9_.-]{0,59}$"
MAX_WORK, MAX_TIMES = 10, 20
FaultKind = Literal[
    "rate limit", "outage", "timeout", "bad key", "empty", "unusable", "slow", "tool", "letta", "killed", "cancelled"
]
IN_MODEL: dict[FaultKind, ModelError] = {
    "rate limit": "rate limit",
    "outage": "outage",
    "timeout": "timeout",
    "bad key": "bad key",
    "empty": "empty",
}


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None
    return text


Pattern = Annotated[str, AfterValidator(_pattern)]
ToolName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Given(Frozen):
    """A material: its text, or the file with it, beside the scenario's own."""

    name: str = Field(min_length=1, max_length=200)
    text: str | None = None
    file: str | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.text is None) == (self.file is None):
            raise ValueError("a material has exactly one of text and file")
        return self


class Happening(Frozen):
    """An entry that the journal must have: of that `type`, by that `actor`, with these `words` in it. At least one of
    it, or exactly `count`."""

    type: str = Field(min_length=1)
    actor: str | None = None
    words: str | None = None
    count: int | None = Field(default=None, ge=0)


class Remembered(Frozen):
    """What is remembered afterwards: what a `search` finds, or what stands in the block `label` of that `agent`."""

    search: str | None = None
    agent: str | None = None
    label: str | None = None
    contains: tuple[str, ...] = ()
    omits: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.search is None) == (self.label is None) or (self.label is not None and self.agent is None):
            raise ValueError("memory is looked into by a search, or by agent and label")
        if not self.contains and not self.omits:
            raise ValueError("say what it contains, or what it omits")
        return self


class Most(Frozen):
    """What it may take. Seconds are judged only where a real model answers: a scripted one says nothing about them."""

    turns: int | None = Field(default=None, ge=0)
    tokens: int | None = Field(default=None, ge=0)
    usd: float | None = Field(default=None, ge=0)
    seconds: float | None = Field(default=None, gt=0)


class Expect(Frozen):
    """What must hold of a piece of work. Whatever is left out is not looked at, but that it is completed.

    `plan`: teams that have a part in it. `order`: these entries come in the journal one after another. `contains`,
    `omits` and `matches` are of the output, or of the reply of a chat. `stopped` and `error`: words of why it ended.
    """

    status: RunStatus = "completed"
    plan: tuple[str, ...] = ()
    events: tuple[Happening, ...] = ()
    order: tuple[Happening, ...] = ()
    contains: tuple[str, ...] = ()
    omits: tuple[str, ...] = ()
    matches: tuple[Pattern, ...] = ()
    evidence: int | None = Field(default=None, ge=0, description="Pieces of evidence, at least.")
    disagreements: int | None = Field(default=None, ge=0, description="At least.")
    rounds: int | None = Field(default=None, ge=0)
    passed: bool | None = None
    unmet: tuple[str, ...] | None = Field(default=None, description="Exactly these criteria.")
    missing: tuple[str, ...] | None = Field(default=None, description="Exactly these agents delivered nothing.")
    stopped: str | None = None
    error: str | None = None
    memory: tuple[Remembered, ...] = ()
    at_most: Most = Most()


class Piece(Frozen):
    """One piece of work: a team task with a `goal`, or a chat: a `message` to an `agent`.

    `answers` are given to its questions in their order; to a question beyond them the safe one is given.
    """

    goal: str | None = Field(default=None, min_length=1, max_length=MAX_GOAL)
    materials: tuple[Given, ...] = ()
    teams: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = Field(default=DEFAULT_CRITERIA, min_length=1, max_length=MAX_CRITERIA)
    project: str | None = Field(default=None, min_length=1, max_length=200)
    max_rounds: int = Field(default=2, ge=0, le=10)
    mode: Mode | None = None
    budget: Budget = Budget()
    approve_plan: bool = False
    agent: str | None = None
    message: str | None = Field(default=None, min_length=1, max_length=MAX_MESSAGE)
    answers: tuple[str, ...] = ()
    expect: Expect = Expect()

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.goal is None) == (self.message is None):
            raise ValueError("a piece of work has exactly one of goal (a team task) and message (to an agent)")
        if (self.message is None) != (self.agent is None):
            raise ValueError("a message needs the agent that it is for, and an agent its message")
        return self


class Fault(Frozen):
    """What goes wrong, `times` times, or always.

    The model of an `agent` (or of any), for that `part` of the work or for any: rate limit, outage, timeout, bad key,
    empty, an unusable answer, or a slow one by `seconds`. A `tool` that fails. The connection to Letta, which drops
    while an answer comes. The process, which is killed while the agent has its first turn, and another takes over; or
    the run, which is cancelled then.
    """

    kind: FaultKind
    agent: str | None = None
    part: Part | None = None
    tool: str | None = None
    seconds: float = Field(default=1.0, gt=0, le=MAX_SECONDS)
    times: int | Literal["always"] = 1

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if isinstance(self.times, int) and not 1 <= self.times <= MAX_TIMES:
            raise ValueError(f'times is between 1 and {MAX_TIMES}, or "always"')
        if self.kind == "tool" and not self.tool:
            raise ValueError("a fault of the kind tool names the tool that fails")
        if self.kind in {"killed", "cancelled"} and (not self.agent or self.part or self.times != 1):
            raise ValueError(f"a fault of the kind {self.kind} names an agent, in whose first turn it happens, once")
        if self.kind == "letta" and (self.agent or self.part):
            raise ValueError("the connection to Letta drops for whoever is answering: leave agent and part out")
        return self

    @property
    def of_model(self) -> bool:
        """Whether it is the model that goes wrong."""
        return self.kind in IN_MODEL or self.kind in {"unusable", "slow"}


class Scenario(Frozen):
    """Pieces of work, done one after another by one constellation that begins empty.

    `rules` are the scripted model's (see `Script`); with `real` the home's own models answer, and the faults alone are
    scripted. `spare` adds a second scripted model to fall back on, which has none of the faults. `price` is what the
    scripted model's tokens cost; without one they are free. `roster` is a file beside the scenario's own. `tools` are
    sources of tools that its agents have besides those shipped, by their names: each as a file of your tools folder.
    """

    name: str = Field(pattern=NAME)
    about: str = ""
    real: bool = False
    roster: str | None = None
    price: Price | None = None
    spare: bool = False
    tools: dict[ToolName, str] = Field(default_factory=dict[str, str])
    seconds: float = Field(default=120.0, gt=0, le=3_600, description="After this it is given up, and has failed.")
    rules: tuple[Rule, ...] = ()
    faults: tuple[Fault, ...] = ()
    work: tuple[Piece, ...] = Field(min_length=1, max_length=MAX_WORK)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.real and (self.rules or self.price or self.spare):
            raise ValueError("real models answer by themselves: leave out rules, price and spare, or real")
        if len(self.ends) > 1:
            raise ValueError("there can be one fault of the kinds killed and cancelled")
        for end in self.ends:
            if len(self.work) > 1 or any(not piece.goal for piece in self.work):
                raise ValueError(f"with a fault of the kind {end.kind} there is one piece of work, a team task")
        return self

    @property
    def ends(self) -> tuple[Fault, ...]:
        """The faults that end the process or the run."""
        return tuple(fault for fault in self.faults if fault.kind in {"killed", "cancelled"})


class Played(Frozen):
    """What came of playing a scenario once: what does not hold, in words; what it took; and where it is traced.

    `used` is the greatest share of what it may take by its own expectations (1.0: all of it); None without any.
    """

    scenario: str
    number: int = 1
    failures: tuple[str, ...] = ()
    usage: Usage = Usage()
    used: float | None = None
    seconds: float = 0.0
    began_ms: int = 0
    trace_ids: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all held that must hold."""
        return not self.failures
