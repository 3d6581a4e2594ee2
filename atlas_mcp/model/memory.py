"""Core memory as callers see it: blocks, and how they changed."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from atlas_mcp.model._base import Frozen

Operation = Literal["value", "append", "replace", "undo", "created", "elsewhere"]


class BlockRevision(Frozen):
    """One value that a block had, and who gave it; it took the place of the revision before it."""

    revision: int
    value: str
    operation: Operation
    author: str
    tool: str | None = Field(default=None, description="The memory tool by which an agent made it.")
    restores: int | None = Field(default=None, description="The revision that an undo brought back.")
    turn_id: str | None = None
    at: datetime


class Block(Frozen):
    """A labelled piece of an agent's core memory; lengths in characters."""

    label: str
    value: str
    description: str = ""
    limit: int
    chars: int
    revision: int = Field(description="Counts up with each change; pass it as expected_revision.")
    shared_with: list[str] = Field(default_factory=list, description="Other agents that see this same block.")
    updated_at: datetime | None = None
    author: str = Field(default="", description="Who wrote it: caller, agent:NAME, atlas, roster, or elsewhere.")
    read_only: bool = Field(default=False, description="Whether agents cannot change it.")
    history: list[BlockRevision] | None = Field(default=None, description="Its newest revisions first, if asked for.")
    note: SkipJsonSchema[str | None] = None
    """What the guard found in what was written just now. Not in the schema, which every client reads."""


class Replacement(Frozen):
    """A change of one passage: `old` must occur exactly once."""

    old: str = Field(min_length=1)
    new: str


class MemoryChange(Frozen):
    """One block changed: by whom, from which length to which; the values are in the block's revisions."""

    agent: str
    label: str
    operation: Operation
    author: str
    revision: int
    before: str
    after: str
