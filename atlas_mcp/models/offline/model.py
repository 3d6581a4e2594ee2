"""The offline model: a chat model that is no language model. It answers only while no model is configured at all.

It is deterministic (equal input gives equal output, to the byte, also of its tool calls' ids) and extractive: it
selects and arranges sentences it was given, fills typed answers by measurable rules, and its ratings can fail. It never
follows what stands in materials, reports, drafts or tool results. Every answer in words says that it is the offline
model and how to set a real one; typed answers do not: what carries them says it.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import anyio
import anyio.to_thread
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.messages.tool import tool_call, tool_call_chunk
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from atlas_mcp.model.tokens import estimate_tokens
from atlas_mcp.models.catalog import OFFLINE
from atlas_mcp.models.offline import chat, typed
from atlas_mcp.models.offline.prompt import is_summary, read_prompt
from atlas_mcp.models.offline.tools import Call, Tools, tools_of

_CHUNK = re.compile(r"(?:\S+\s*){1,8}|\s+")


class OfflineModel(BaseChatModel):
    """The model; `delay` is how many seconds it waits once in each turn, before its first answer to a message."""

    delay: float = 0

    @property
    def _llm_type(self) -> str:
        return "atlas-offline"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools; it calls those it knows when they help, and never needs to."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        return result_of(await self._answer(messages, kwargs))

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in chunks_of(await self._answer(messages, kwargs)):
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        if self._waits(messages):
            time.sleep(self.delay)
        return result_of(_think(messages, tools_of(kwargs.get("tools") or [])))

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        if self._waits(messages):
            time.sleep(self.delay)
        yield from chunks_of(_think(messages, tools_of(kwargs.get("tools") or [])))

    async def _answer(self, messages: list[BaseMessage], kwargs: dict[str, Any]) -> AIMessage:
        if self._waits(messages):
            await anyio.sleep(self.delay)
        return await anyio.to_thread.run_sync(_think, messages, tools_of(kwargs.get("tools") or []))

    def _waits(self, messages: list[BaseMessage]) -> bool:
        """Once a turn: at its first call, which is the one that ends with the user's message."""
        first = bool(messages) and isinstance(messages[-1], HumanMessage)
        return self.delay > 0 and first and not is_summary(messages)


def _think(messages: list[BaseMessage], tools: Tools) -> AIMessage:
    said = _say(messages, tools)
    usage = usage_of(messages, tools, said if isinstance(said, str) else json.dumps(said[1]))
    metadata = {"model_name": OFFLINE, "model_provider": "atlas"}
    if isinstance(said, str):
        return AIMessage(content=said, usage_metadata=usage, response_metadata=metadata)
    name, arguments = said
    key = json.dumps([len(messages), name, arguments, messages[-1].text], sort_keys=True, default=str)
    call = tool_call(name=name, args=arguments, id=f"call_{hashlib.sha256(key.encode()).hexdigest()[:24]}")
    return AIMessage(content="", tool_calls=[call], usage_metadata=usage, response_metadata=metadata)


def _say(messages: list[BaseMessage], tools: Tools) -> Call | str:
    if is_summary(messages):
        return chat.summarise(messages)
    prompt = read_prompt(messages)
    return typed.respond(prompt, tools) if prompt else chat.respond(messages, tools)


def usage_of(messages: list[BaseMessage], tools: Tools, answer: str) -> UsageMetadata:
    """Estimated tokens, so that the ledger has something to count."""
    given = sum(estimate_tokens(m.text) for m in messages) + estimate_tokens(json.dumps(tools))
    made = estimate_tokens(answer)
    return UsageMetadata(input_tokens=given, output_tokens=made, total_tokens=given + made)


def result_of(message: AIMessage) -> ChatResult:
    return ChatResult(generations=[ChatGeneration(message=message)])


def chunks_of(message: AIMessage) -> Iterator[ChatGenerationChunk]:
    """The message in pieces of a few words; a tool call in one piece; figures come with the last."""
    pieces = [AIMessageChunk(content=piece) for piece in _CHUNK.findall(message.text)]
    pieces += [
        AIMessageChunk(
            content="",
            tool_call_chunks=[tool_call_chunk(name=c["name"], args=json.dumps(c["args"]), id=c["id"], index=n)],
        )
        for n, c in enumerate(message.tool_calls)
    ]
    last = AIMessageChunk(
        content="",
        usage_metadata=message.usage_metadata,
        response_metadata=message.response_metadata,
        chunk_position="last",
    )
    for piece in [*pieces, last]:
        yield ChatGenerationChunk(message=piece)
