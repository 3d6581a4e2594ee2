"""One message to one agent, and what came of it."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.guard import Held
from atlas_mcp.model.memory import MemoryChange
from atlas_mcp.model.usage import Usage


class ToolSpec(Frozen):
    """A tool an agent may call, as its model sees it; `parameters` is a JSON Schema of an object."""

    name: str
    description: str
    parameters: dict[str, Any]


class TurnResult(Frozen):
    """What an agent answered in one turn, and what the turn changed and cost."""

    turn_id: str
    agent: str
    conversation: str
    reply: str
    model: str = ""
    memory_changes: list[MemoryChange] = Field(default_factory=list[MemoryChange])
    usage: Usage = Usage()
    guard: list[Held] = Field(default_factory=list[Held])


class ChatReply(Frozen):
    """What `chat_with_agent` gives: the reply, or the handle of a run that goes on."""

    status: Literal["completed", "working"]
    reply: str | None = None
    agent: str
    conversation: str
    memory_changes: list[MemoryChange] = Field(default_factory=list[MemoryChange])
    usage: Usage = Usage()
    run_id: str | None = None
    trace_id: str | None = None
    note: str | None = Field(default=None, description="What to know or to do next, in words.")
    guard: SkipJsonSchema[list[Held]] = Field(default_factory=list[Held])
    """What of the agent's answer did not pass the guard. Not in the schema, which every client reads."""
