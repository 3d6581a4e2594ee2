"""A team task as the caller sets it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, StringConstraints

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.plan import Mode

MAX_MESSAGE = 100_000
MAX_GOAL = 20_000
MAX_CRITERIA = 12
MAX_MATERIAL = 2_000_000
DEFAULT_CRITERIA = (
    "answers the goal",
    "every claim is supported by the materials",
    "clear and well organised",
)


Criterion = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=300)]


class Material(Frozen):
    """A text the caller hands in; agents search, read, quote and cite it by its name.

    `note` is the guard's: what agents are told of the text beside it.
    """

    name: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=MAX_MATERIAL)
    note: str = Field(default="", exclude=True)


class TeamTask(Frozen):
    """What is to be done, from what, by whom, and how it is judged."""

    goal: str = Field(min_length=1, max_length=MAX_GOAL)
    materials: tuple[Material, ...] = ()
    teams: tuple[str, ...] = ()
    criteria: tuple[Criterion, ...] = Field(default=DEFAULT_CRITERIA, min_length=1, max_length=MAX_CRITERIA)
    project: str | None = Field(default=None, min_length=1, max_length=200)
    max_rounds: int = Field(default=2, ge=0, le=10, description="Rounds of rating at most; with 0 nobody rates.")
    mode: Mode | None = None
    budget: Budget = Budget()
    approve_plan: bool = False
    folders: tuple[str, ...] = Field(
        default=(), max_length=20, description="Folders that the caller's client lets agents look into: its roots."
    )
