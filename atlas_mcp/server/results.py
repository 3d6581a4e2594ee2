"""Results that are lists: each under one key, so that text and structured content carry the same facts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from atlas_mcp.model._base import Frozen, Tolerant
from atlas_mcp.model.agent import AgentInfo
from atlas_mcp.model.fact import Told
from atlas_mcp.model.group import GroupInfo
from atlas_mcp.model.memory import Block
from atlas_mcp.model.memory_item import MemoryItem, Undone
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import Run, RunStatus


class AgentList(Frozen):
    """The agents of the caller's constellation, and the groups they talk in."""

    agents: list[AgentInfo]
    groups: list[GroupInfo]


class AgentPage(AgentInfo):
    """One agent, and where what belongs to it is found."""

    groups: list[str]
    memory: list[str] = Field(description="The addresses of its blocks.")


class Deleted(Frozen):
    """What is gone, in words."""

    deleted: str


class Tellings(Frozen):
    """What became of each fact that was told, in the same order."""

    facts: list[Told]


class BlockList(Frozen):
    """Core memory of one agent."""

    blocks: list[Block]


class UndoneMemory(BaseModel):
    """A block as it now stands, or what else was taken back."""

    model_config = ConfigDict(frozen=True, extra="allow")

    memories: list[MemoryItem] | None = None
    facts: list[str] | None = None
    blocks: list[Block] | None = None

    @classmethod
    def of(cls, undone: Undone) -> UndoneMemory:
        """What was taken back by an id or for a run."""
        return cls(memories=undone.memories, facts=undone.facts, blocks=undone.blocks)

    @classmethod
    def of_block(cls, block: Block) -> UndoneMemory:
        """The block, with all that a block has."""
        return cls.model_validate(block.model_dump(mode="json"))


class MemoryList(Frozen):
    """Memories, newest first."""

    memories: list[MemoryItem]
    next_after: str | None = Field(default=None, description="Pass it as after for older ones; null at the end.")


class RunList(Frozen):
    """The caller's runs, newest first."""

    runs: list[Run]
    next_cursor: str | None = Field(default=None, description="Pass it as cursor for older runs; null at the end.")


class RunResult(Tolerant):
    """What a run has come to: the best so far while it goes on, nothing before there is anything."""

    run_id: str
    status: RunStatus
    result: Result | None
    reply: str | None
    error: str | None
