"""What clients may send, as pydantic models. Fields of Letta's that change nothing here are accepted and ignored."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Text = Annotated[str, Field(max_length=1_000_000)]
Label = Annotated[str, Field(min_length=1, max_length=200)]


class Body(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class NewBlock(Body):
    label: Label
    value: Text = ""
    limit: Annotated[int, Field(gt=0)] | None = None
    description: str | None = None
    read_only: bool = False
    hidden: bool | None = None
    metadata: dict[str, Any] | None = None
    tags: list[str] | None = None


class BlockChange(Body):
    """Only the fields that were sent are changed; `model_fields_set` tells which."""

    label: Label | None = None
    value: Text | None = None
    limit: Annotated[int, Field(gt=0)] | None = None
    description: str | None = None
    read_only: bool | None = None
    hidden: bool | None = None
    metadata: dict[str, Any] | None = None
    tags: list[str] | None = None


class NewAgent(Body):
    name: Annotated[str, Field(max_length=500)] | None = None
    model: str | None = None
    system: Text | None = None
    description: str | None = None
    agent_type: str = "letta_v1_agent"
    memory_blocks: list[NewBlock] | None = None
    block_ids: list[str] | None = None
    tools: list[str] | None = None
    tool_ids: list[str] | None = None
    include_base_tools: bool = True
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    context_window_limit: Annotated[int, Field(gt=0)] | None = None


class AgentChange(Body):
    name: Annotated[str, Field(max_length=500)] | None = None
    model: str | None = None
    system: Text | None = None
    description: str | None = None
    block_ids: list[str] | None = None
    tool_ids: list[str] | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    context_window_limit: Annotated[int, Field(gt=0)] | None = None


class Part(Body):
    """One part of a message's content; only text is understood."""

    type: str = "text"
    text: str | None = None


class ReturnedTool(Body):
    """What a caller says about one tool call: its return, or whether it is approved."""

    type: Literal["tool", "approval"] | None = None
    tool_call_id: str
    tool_return: str | list[Part] | None = None
    status: Literal["success", "error"] = "success"
    approve: bool | None = None
    reason: str | None = None


class SentMessage(Body):
    """A message, an approval or tool returns: Letta tells them apart by `type`."""

    type: Literal["message", "approval", "tool_return"] | None = None
    role: Literal["user", "system", "assistant"] = "user"
    content: str | list[Part] | None = None
    name: str | None = None
    sender_id: str | None = None
    otid: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    tool_returns: list[ReturnedTool] | None = None
    approvals: list[ReturnedTool] | None = None
    approve: bool | None = None
    reason: str | None = None


class ClientTool(Body):
    name: Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Send(Body):
    """A request for a turn. `streaming` None means the default of the path."""

    messages: list[SentMessage] | None = None
    input: str | list[Part] | None = None
    agent_id: str | None = None
    streaming: bool | None = None
    stream_tokens: bool = False
    include_pings: bool = True
    include_return_message_types: list[str] | None = None
    client_tools: list[ClientTool] | None = None
    max_steps: Annotated[int, Field(gt=0, le=1_000)] = 50
    override_model: str | None = None
    override_system: Text | None = None


class CancelRuns(Body):
    run_ids: list[str] | None = None
    agent_id: str | None = None


class NewConversation(Body):
    summary: str | None = None
    description: str | None = None


class ConversationChange(Body):
    summary: str | None = None
    description: str | None = None
    archived: bool | None = None


class NewPassage(Body):
    text: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    tags: list[str] | None = None
    created_at: str | None = None


class NewTool(Body):
    source_code: Annotated[str, Field(min_length=1, max_length=1_000_000)]
    json_schema: dict[str, Any] | None = None
    description: str | None = None
    tags: list[str] | None = None
    return_char_limit: Annotated[int, Field(gt=0, le=1_000_000)] = 50_000
