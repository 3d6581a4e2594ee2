"""What Letta tells us, as frozen values: agents, blocks, tool calls and answers. Nothing of letta-client shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from atlas_mcp.model.turn import ToolSpec

RunState = Literal["running", "ended", "unknown"]


@dataclass(frozen=True, slots=True)
class Abilities:
    """What one Letta is and can do, as it was when it was connected; `models` and `embeddings` are its handles.

    `groups`: it has the resource, so that groups can be shown there; no version from 0.12 on runs them.
    `enforces_limits`: whether it refuses a block's value over its limit by itself; None where that is not known.
    """

    version: str
    conversations: bool = True
    groups: bool = False
    folders: bool = False
    archives: bool = False
    enforces_limits: bool | None = None
    models: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BlockState:
    """A block's present value. `limit` in characters; a Letta of version 0.16.8 does not enforce it itself.

    `version` tells one state from every other, where the Letta has such a thing.
    """

    id: str
    label: str
    value: str
    limit: int
    description: str = ""
    read_only: bool = False
    tags: tuple[str, ...] = ()
    version: int | None = None


@dataclass(frozen=True, slots=True)
class ToolState:
    """A tool that an agent has in Letta; `ours` if ATLAS put its source there."""

    id: str
    name: str
    ours: bool


@dataclass(frozen=True, slots=True)
class NewTool:
    """A tool that is to run where Letta runs. `mark` tells one state of source and schema from every other."""

    spec: ToolSpec
    source: str
    mark: str


@dataclass(frozen=True, slots=True)
class AgentState:
    """An agent as Letta has it; `model` is the handle that answers for it."""

    id: str
    name: str
    model: str
    system: str
    description: str
    tags: tuple[str, ...]
    blocks: tuple[BlockState, ...]
    tools: tuple[ToolState, ...] = ()


@dataclass(frozen=True, slots=True)
class NewBlock:
    """A block to be created; a `read_only` one is not to be changed by agents."""

    label: str
    value: str
    limit: int
    description: str = ""
    read_only: bool = False


@dataclass(frozen=True, slots=True)
class NewAgent:
    """An agent to be created: `blocks` become its own, those of `shared` are attached by their ids."""

    name: str
    description: str
    model: str
    system: str
    blocks: tuple[NewBlock, ...]
    shared: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AgentChange:
    """What is to be changed of an agent; None leaves as it is."""

    description: str | None = None
    model: str | None = None
    system: str | None = None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A tool that an agent called in a turn, with the arguments it gave; `ok` is False once it returned an error."""

    id: str
    name: str
    arguments: dict[str, Any]
    ok: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What a turn came to. Tokens are those of all its model calls; `letta_runs` are Letta's ids of its runs, in order:
    one, and one more for each time that the turn waited for tools of ours.

    `tool_calls` holds every call of the turn in order, also those that Letta executed itself.
    """

    text: str
    input_tokens: int = 0
    output_tokens: int = 0
    letta_runs: tuple[str, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
