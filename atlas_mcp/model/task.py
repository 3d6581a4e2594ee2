"""A team task as the caller sets it."""

from __future__ import annotations

from pydantic import Field

from atlas_mcp.model._base import Frozen

MAX_MESSAGE = 100_000
MAX_MATERIAL = 2_000_000
DEFAULT_CRITERIA = (
    "answers the goal",
    "every claim is supported by the materials",
    "clear and well organised",
)


class Material(Frozen):
    """A text the caller hands in; agents search, read, quote and cite it by its name."""

    name: str = Field(min_length=1, max_length=200)
    text: str = Field(min_length=1, max_length=MAX_MATERIAL)


class TeamTask(Frozen):
    """What is to be done, from what, by whom, and how it is judged."""

    goal: str = Field(min_length=1, max_length=MAX_MESSAGE)
    materials: tuple[Material, ...] = ()
    teams: tuple[str, ...] = ()
    criteria: tuple[str, ...] = DEFAULT_CRITERIA
    project: str | None = None
    max_rounds: int = Field(default=2, ge=1, le=10)
