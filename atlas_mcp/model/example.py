"""Examples: real pieces of work, kept with what is expected of whoever does them again; a set of them can be a file."""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.plan import Mode
from atlas_mcp.model.task import DEFAULT_CRITERIA, MAX_CRITERIA, MAX_GOAL, MAX_MESSAGE, Criterion, Material

DEFAULT_SET = "default"
SET_NAME = r"^[a-z0-9][a-z0-9_.-]{0,59}$"
MAX_EXPECTED = 50

SetName = Annotated[str, StringConstraints(pattern=SET_NAME)]
Phrase = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=1_000)]


class Work(Frozen):
    """What is to be done: a team task, or one turn of `agent` whose message is the goal.

    `criteria` are what the outcome is rated by.
    """

    kind: Literal["team_task", "turn"] = "team_task"
    goal: str = Field(min_length=1, max_length=max(MAX_GOAL, MAX_MESSAGE))
    agent: str | None = None
    materials: tuple[Material, ...] = ()
    teams: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = Field(default=DEFAULT_CRITERIA, min_length=1, max_length=MAX_CRITERIA)
    max_rounds: int = Field(default=2, ge=0, le=10)
    mode: Mode | None = None


class Expected(Frozen):
    """What the outcome must have: criteria that it must meet, phrases and facts that it must say, sources that it must
    cite."""

    criteria: tuple[Criterion, ...] = Field(default=(), max_length=MAX_CRITERIA)
    phrases: tuple[Phrase, ...] = Field(default=(), max_length=MAX_EXPECTED)
    sources: tuple[Phrase, ...] = Field(default=(), max_length=MAX_EXPECTED)


class Baseline(Frozen):
    """How the run went that the example is made of; `ratings` are its criteria's means."""

    ratings: dict[str, float] = Field(default_factory=dict[str, float])
    seconds: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cost_usd: float | None = None


class Example(Frozen):
    """One example of a set."""

    id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")
    suite: SetName = DEFAULT_SET
    run_id: str | None = None
    work: Work
    expected: Expected = Expected()
    baseline: Baseline = Baseline()
    made_at: datetime

    @property
    def digest(self) -> str:
        """What tells whether two examples ask for the same and expect the same."""
        text = self.work.model_dump_json() + self.expected.model_dump_json()
        return hashlib.sha256(text.encode()).hexdigest()[:16]


class ExampleSet(Frozen):
    """A set as a file has it."""

    name: SetName
    examples: tuple[Example, ...] = Field(min_length=1)
