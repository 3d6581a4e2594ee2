"""What is forgotten, where it was, and where it may still be."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model._base import Frozen


class Target(Frozen):
    """What is to be forgotten: a thing by its id, a block by agent and label, or all that a run stored."""

    id: str | None = None
    agent: str | None = None
    label: str | None = None
    run_id: str | None = None

    def check(self) -> None:
        """InvalidInput unless exactly one thing is named."""
        named = [self.id is not None, self.agent is not None or self.label is not None, self.run_id is not None]
        if sum(named) != 1 or (self.agent is None) != (self.label is None):
            raise InvalidInput(
                "exactly one thing must be named.",
                argument="id",
                allowed=("id", "agent and label", "run_id"),
                next_step="Give an id, or agent and label for a block, or run_id for all that a run stored.",
            )


class Place(Frozen):
    """So many things in one place: rows, messages, files."""

    place: str
    count: int


class Forgotten(Frozen):
    """What was forgotten, or would be: `deleted` says in which places how much of it was, `remaining` in words where it
    still is or may be.
    """

    status: Literal["would_forget", "forgotten"]
    what: str = ""
    deleted: list[Place] = Field(default_factory=list[Place])
    remaining: list[str] = Field(default_factory=list[str])
    next_step: str = ""


class Purged(Frozen):
    """What was taken out of the files of a home. `items` of what was forgotten are gone from the disk; `open` ones are
    not yet, and `problems` tell why. `remaining` says where it may be that cannot be looked into from here.
    """

    items: int = 0
    open: int = 0
    deleted: list[Place] = Field(default_factory=list[Place])
    problems: list[str] = Field(default_factory=list[str])
    remaining: list[str] = Field(default_factory=list[str])
