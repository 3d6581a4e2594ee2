"""Results that are lists: each under one key, so that text and structured content carry the same facts."""

from __future__ import annotations

from pydantic import Field

from atlas_mcp.model._base import Frozen, Tolerant
from atlas_mcp.model.agent import AgentInfo
from atlas_mcp.model.group import GroupInfo
from atlas_mcp.model.memory import Block
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import Run, RunStatus


class AgentList(Frozen):
    """The agents of the caller's constellation, and the groups they talk in."""

    agents: list[AgentInfo]
    groups: list[GroupInfo]


class Deleted(Frozen):
    """What is gone, in words."""

    deleted: str


class BlockList(Frozen):
    """Core memory of one agent."""

    blocks: list[Block]


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
