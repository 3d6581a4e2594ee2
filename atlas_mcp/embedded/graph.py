"""The agent loop: LangChain's `create_agent`, compiled once for a model and a set of tools and used for every turn.

The graph holds nothing of an agent. The turn is its run-time context, and the graph's model and tools are adapters that
ask the turn; middleware would do the same, but every call of it costs two thread hops. Importing this module takes
about a second, so it is imported in a worker thread when the first turn comes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

import langchain.agents
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.outputs import ChatResult
from langchain_core.tools import BaseTool
from langgraph.runtime import get_runtime

from atlas_mcp.embedded.loop import Turn


def compile_agent(model: BaseChatModel, schemas: Sequence[str]) -> Any:
    """The compiled loop for a model and tools (their JSON schemas as text); its context is a Turn."""
    tools = [_tool(json.loads(schema)) for schema in schemas]
    bound: Any = model.bind_tools(tools) if tools else model
    create_agent = cast("Any", langchain.agents).create_agent  # its own type is only partly known
    return create_agent(_Voice(bound=bound), tools, context_schema=Turn)


class _Voice(BaseChatModel):
    """The graph's model: the turn speaks, with the real model that has the tools bound already."""

    bound: Any

    @property
    def _llm_type(self) -> str:
        return "turn"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self

    def bind(self, **kwargs: Any) -> Any:
        return self

    def _generate(self, messages: Any, *args: Any, **kwargs: Any) -> ChatResult:
        raise RuntimeError("A turn speaks asynchronously only.")

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> AIMessage:
        turn, messages = get_runtime(Turn).context, cast("list[AnyMessage]", input)

        async def ask(whole: list[AnyMessage]) -> AIMessage:
            return await (_streamed(turn, self.bound, whole) if turn.stream_tokens else self.bound.ainvoke(whole))

        return await turn.think(ask, messages)


class _Errand(BaseTool):
    """The graph's tool: the turn runs it."""

    async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> ToolMessage:
        return await get_runtime(Turn).context.act(cast("dict[str, Any]", input))

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("A turn runs its tools asynchronously only.")


async def _streamed(turn: Turn, model: Any, messages: list[AnyMessage]) -> AIMessage:
    """The model's answer in pieces, each handed on when it comes."""
    whole: Any = None
    async for chunk in model.astream(messages):
        whole = chunk if whole is None else whole + chunk
        await turn.piece(chunk)
    if whole is None:
        return AIMessage("")
    fields = ("content", "tool_calls", "invalid_tool_calls", "usage_metadata", "response_metadata", "additional_kwargs")
    return AIMessage(**{field: getattr(whole, field) for field in fields})


def _tool(schema: dict[str, Any]) -> BaseTool:
    parameters: dict[str, Any] = schema.get("parameters") or {"type": "object", "properties": {}}
    described = str(schema.get("description") or schema["name"])
    return _Errand(name=schema["name"], description=described, args_schema=parameters)
