"""The agent loop: LangChain's `create_agent`, compiled once for a model and a set of tools and used for every turn.

The graph holds nothing of an agent: a turn is its context, and the turn itself answers for every model call and every
tool call. Importing this module takes about a second, so it is imported in a worker thread when the first turn comes.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import langchain.agents
from langchain.agents.middleware import AgentMiddleware, AgentState
from langchain.agents.middleware.types import ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import BaseTool, StructuredTool
from langgraph.types import Command

from atlas_mcp.embedded.loop import Turn

if TYPE_CHECKING:
    from langchain_core.language_models.chat_models import BaseChatModel


class _Steward(AgentMiddleware[AgentState[Any], Turn]):
    async def awrap_model_call(
        self,
        request: ModelRequest[Turn],
        handler: Callable[[ModelRequest[Turn]], Awaitable[ModelResponse[Any]]],
    ) -> ModelResponse[Any]:
        turn = request.runtime.context

        async def ask(prompt: Any) -> AIMessage:
            ready = request.override(system_message=prompt)
            if turn.stream_tokens:
                return await _streamed(turn, ready)
            return cast("AIMessage", (await handler(ready)).result[-1])

        return ModelResponse(result=[await turn.think(ask, request.messages)])

    async def awrap_tool_call(
        self,
        request: ToolCallRequest,
        handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]],
    ) -> ToolMessage | Command[Any]:
        turn = cast("Turn", request.runtime.context)  # pyright: ignore[reportUnknownMemberType]  # LangGraph types it so
        return await turn.act(dict(request.tool_call))


async def _streamed(turn: Turn, request: ModelRequest[Turn]) -> AIMessage:
    """The model's answer in pieces, each handed on when it comes."""
    tools = cast("list[BaseTool]", request.tools)
    model = request.model.bind_tools(tools) if tools else request.model
    prompt: list[AnyMessage] = [*([request.system_message] if request.system_message else []), *request.messages]
    whole: Any = None
    async for chunk in model.astream(prompt):
        whole = chunk if whole is None else whole + chunk
        await turn.piece(chunk)
    if whole is None:
        return AIMessage("")
    fields = ("content", "tool_calls", "invalid_tool_calls", "usage_metadata", "response_metadata", "additional_kwargs")
    return AIMessage(**{field: getattr(whole, field) for field in fields})


def compile_agent(model: BaseChatModel, schemas: Sequence[str]) -> Any:
    """The compiled loop for a model and tools (their JSON schemas as text)."""
    create_agent = cast("Any", langchain.agents).create_agent  # its own type is only partly known
    tools = [_tool(json.loads(schema)) for schema in schemas]
    return create_agent(model, tools, middleware=[_Steward()], context_schema=Turn)


def _tool(schema: dict[str, Any]) -> BaseTool:
    parameters: dict[str, Any] = schema.get("parameters") or {"type": "object", "properties": {}}
    described = str(schema.get("description") or schema["name"])
    return StructuredTool(name=schema["name"], description=described, args_schema=parameters, coroutine=_unreachable)


async def _unreachable(**_: Any) -> str:
    raise RuntimeError("The turn answers every tool call itself.")
