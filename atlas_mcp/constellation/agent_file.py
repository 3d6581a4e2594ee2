"""Letta's agent files (.af): one agent as JSON, in the form that Letta's own servers write and read.

Promise: what is written here, Letta 0.16.8 imports: the agent with its memory blocks, Letta's memory tools and the
newest of what was said. What Letta writes is read here as far as it is of use: names, texts and blocks; fields that
ATLAS knows nothing of are passed over. Keys, secrets and values of environment variables are neither written nor read.
"""

from __future__ import annotations

import json
import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field, ValidationError

from atlas_mcp.errors import BrokenPackage, InvalidInput
from atlas_mcp.model._base import Tolerant

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from atlas_mcp.constellation.portable_entries import TurnEntry
    from atlas_mcp.letta.states import AgentState

MAX_BYTES = 64 << 20
MAX_TURNS = 50
"""The newest turns that a file takes along: the rest would not fit into an agent's context anyway."""
_CORE = {
    "memory_insert": "letta_sleeptime_core",
    "memory_replace": "letta_sleeptime_core",
    "archival_memory_insert": "letta_core",
    "archival_memory_search": "letta_core",
    "conversation_search": "letta_core",
}
_EMBEDDING = {
    "embedding_endpoint_type": "openai",
    "embedding_endpoint": "https://api.openai.com/v1",
    "embedding_model": "text-embedding-3-small",
    "embedding_dim": 1536,
    "embedding_chunk_size": 300,
    "handle": "openai/text-embedding-3-small",
}
"""What Letta itself takes for archives; a file of an agent that had no such model needs one all the same."""

_ENDPOINTS = frozenset({
    "openai", "anthropic", "google_ai", "google_vertex", "azure", "groq", "ollama", "together", "bedrock", "lmstudio",
    "vllm", "mistral", "deepseek", "xai", "zai", "minimax", "hugging-face", "llamacpp",
})  # fmt: skip
"""The kinds of model servers that Letta 0.16.8 knows."""
_CONTEXT_WINDOW = 128_000
"""Letta's own default."""


class FileBlock(Tolerant):
    """A memory block in the file."""

    id: str = ""
    label: str = Field(min_length=1, max_length=200)
    value: str = ""
    description: str | None = None


class FileTool(Tolerant):
    """A tool in the file; one with source is the agent's owner's own."""

    name: str | None = None
    source_code: str | None = None


class FileMessage(Tolerant):
    """Something said, in the file."""

    role: str | None = None


class FileAgent(Tolerant):
    """An agent in the file; `memory_blocks` are blocks written out in place."""

    name: str = Field(min_length=1, max_length=500)
    description: str | None = None
    system: str | None = None
    block_ids: list[str] | None = None
    memory_blocks: list[FileBlock] | None = None
    messages: list[FileMessage] = Field(default_factory=list[FileMessage])


class AgentFile(Tolerant):
    """What a file holds of use here."""

    agents: list[FileAgent]
    blocks: list[FileBlock]
    tools: list[FileTool] = Field(default_factory=list[FileTool])

    @property
    def agent(self) -> FileAgent:
        """Its one agent."""
        return self.agents[0]

    @property
    def memory(self) -> dict[str, FileBlock]:
        """The agent's blocks by label."""
        own = set(self.agent.block_ids or ())
        there = [b for b in self.blocks if b.id in own]
        return {b.label: b for b in (*there, *(self.agent.memory_blocks or ()))}


def read_agent_file(path: Path) -> AgentFile:
    """The file; BrokenPackage if it is no agent file, InvalidInput if it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise InvalidInput(
            f"{path} cannot be read: {(error.strerror or str(error)).lower()}.", argument="FILE"
        ) from error
    if len(content) > MAX_BYTES:
        raise BrokenPackage(str(path), f"it has more than the {MAX_BYTES >> 20} MiB that an agent file may have")
    try:
        file = AgentFile.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BrokenPackage(str(path), f"it is no agent file of Letta's ({where}: {first['msg']})") from error
    if len(file.agents) != 1:
        raise BrokenPackage(
            str(path),
            f"it holds {len(file.agents)} agents ({', '.join(a.name for a in file.agents)})",
            next_step="Export the agents one by one from Letta, and import each.",
        )
    if missing := set(file.agent.block_ids or ()) - {b.id for b in file.blocks}:
        raise BrokenPackage(str(path), f"its agent refers to {min(missing)!r}, which is not in the file")
    return file


def write_agent_file(
    path: Path, state: AgentState, configs: Mapping[str, Any], turns: Sequence[TurnEntry]
) -> tuple[int, int]:
    """Write the agent as Letta has it, with the newest of these turns; how many blocks and turns it took.

    `configs` are Letta's `llm_config` and `embedding_config` of the agent. InvalidInput if it cannot be written.
    """
    said = [turn for turn in turns if turn.result][-MAX_TURNS:]
    content = json.dumps(_file(state, configs, said), ensure_ascii=False, indent=2)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(content)
        draft.replace(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidInput(f"{path} cannot be written: {reason}.", argument="FILE") from error
    finally:
        draft.unlink(missing_ok=True)
    return len(state.blocks), len(said)


def _file(state: AgentState, configs: Mapping[str, Any], turns: Sequence[TurnEntry]) -> dict[str, Any]:
    messages = [_message(0, "system", state.system, datetime.now(UTC))]
    for turn in turns:
        messages.append(_message(len(messages), "user", turn.message, turn.started_at))
        reply = str((turn.result or {}).get("reply", ""))
        messages.append(_message(len(messages), "assistant", reply, turn.finished_at or turn.started_at))
    blocks: list[dict[str, Any]] = [
        {
            "id": f"block-{number}",
            "label": block.label,
            "value": block.value,
            "limit": block.limit,
            "description": block.description,
            "read_only": False,
            "metadata": {},
        }
        for number, block in enumerate(state.blocks)
    ]
    tools = [
        {"id": f"tool-{number}", "name": name, "tool_type": kind, "source_type": "python", "tags": [kind]}
        for number, (name, kind) in enumerate(_CORE.items())
    ]
    agent: dict[str, Any] = {
        "id": "agent-0",
        "name": state.name,
        "description": state.description,
        "agent_type": "letta_v1_agent",
        "system": state.system,
        "tags": [],
        "metadata": {},
        "llm_config": _llm(configs.get("llm_config") or {}, state.model),
        "embedding_config": configs.get("embedding_config") or _EMBEDDING,
        "memory_blocks": [],
        "tools": [],
        "tool_ids": [tool["id"] for tool in tools],
        "tool_rules": [],
        "block_ids": [block["id"] for block in blocks],
        "source_ids": [],
        "include_base_tools": False,
        "include_multi_agent_tools": False,
        "include_base_tool_rules": False,
        "include_default_source": False,
        "tool_exec_environment_variables": {},
        "messages": messages,
        "in_context_message_ids": [message["id"] for message in messages],
        "files_agents": [],
        "group_ids": [],
    }
    return {
        "agents": [agent],
        "groups": [],
        "blocks": blocks,
        "files": [],
        "sources": [],
        "tools": tools,
        "mcp_servers": [],
        "skills": [],
        "metadata": {"written_by": "ATLAS"},
        "created_at": datetime.now(UTC).isoformat(),
    }


def _llm(config: Mapping[str, Any], handle: str) -> dict[str, Any]:
    """The model's configuration in a form that Letta's servers take; a model that they have not is named on import."""
    kind = str(config.get("model_endpoint_type", ""))
    return {
        **config,
        "handle": handle,
        "model": config.get("model") or handle.partition("/")[2] or handle,
        "model_endpoint_type": kind if kind in _ENDPOINTS else "openai",
        "context_window": config.get("context_window") or _CONTEXT_WINDOW,
    }


def _message(number: int, role: str, text: str, at: datetime) -> dict[str, Any]:
    return {
        "type": "message",
        "id": f"message-{number}",
        "agent_id": "agent-0",
        "role": role,
        "content": [{"type": "text", "text": text}],
        "created_at": at.isoformat(),
    }
