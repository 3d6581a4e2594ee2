"""Language models of these tests' own: no network, no delay, told by the message what to do.

`call NAME {json}` (several joined by " and ") makes the model call tools, `say TEXT` makes it say TEXT word by word, `fail
STATUS` fails as a provider does, `wait` waits for `gate`, anything else is answered with "ok: " and itself.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import anyio
from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable, RunnableLambda

_CALL = re.compile(r"(\w+) (\{.*?\})(?= and |$)")


class ProviderError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"the provider said {status}")
        self.status_code = status


class ScriptedModel(BaseChatModel):
    """`seen` gathers the prompt of every call; `gate`, when set, holds back every answer to a message with `wait`."""

    seen: list[list[BaseMessage]] = []
    tools: list[Any] = []
    gate: Any = None
    reached: Any = None
    answer: Any = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Runnable[Any, AIMessage]:
        self.tools[:] = list(tools)
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(messages)
        return ChatResult(generations=[ChatGeneration(message=_reply(messages, self.answer))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        await self._wait(messages)
        return self._generate(messages)

    async def _astream(
        self, messages: list[BaseMessage], stop: list[str] | None = None, run_manager: Any = None, **_: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.seen.append(messages)
        reply = _reply(messages, self.answer)
        words = re.findall(r"\S+\s*", str(reply.content))
        for i, word in enumerate(words):
            if i == 1:
                await self._wait(messages)
            yield ChatGenerationChunk(message=AIMessageChunk(word))
        calls = [
            {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i, "type": "tool_call_chunk"}
            for i, c in enumerate(reply.tool_calls)
        ]
        usage = reply.usage_metadata
        yield ChatGenerationChunk(message=AIMessageChunk("", tool_call_chunks=calls, usage_metadata=usage))

    async def _wait(self, messages: list[BaseMessage]) -> None:
        if self.gate is not None and "wait" in _asked(messages):
            if self.reached is not None:
                self.reached.set()
            await self.gate.wait()


def _asked(messages: list[BaseMessage]) -> str:
    return next(str(m.content) for m in reversed(messages) if isinstance(m, HumanMessage))


def _reply(messages: list[BaseMessage], answer: Callable[[list[BaseMessage]], AIMessage] | None) -> AIMessage:
    if answer is not None:
        return answer(messages)
    last, asked = messages[-1], _asked(messages)
    if isinstance(last, ToolMessage):
        returns: list[str] = []
        for message in reversed(messages):
            if not isinstance(message, ToolMessage):
                break
            returns.append(str(message.content))
        return _said("tools said: " + " | ".join(reversed(returns)))
    if asked.startswith("call "):
        calls = [
            {"name": name, "args": json.loads(args), "id": f"call_{len(messages)}_{i}", "type": "tool_call"}
            for i, (name, args) in enumerate(_CALL.findall(asked))
        ]
        return AIMessage("", tool_calls=calls, usage_metadata={"input_tokens": 7, "output_tokens": 2, "total_tokens": 9})
    if asked.startswith("fail "):
        raise ProviderError(int(asked.split()[1]))
    return _said(asked.removeprefix("say ") if asked.startswith("say ") else f"ok: {asked}")


def _said(text: str) -> AIMessage:
    return AIMessage(text, usage_metadata={"input_tokens": 5, "output_tokens": 3, "total_tokens": 8})


class Source:
    """A ModelSource of one model (and a second handle for the same)."""

    def __init__(self, model: ScriptedModel | None = None) -> None:
        self.model = model or ScriptedModel()

    def handles(self) -> list[str]:
        return ["test/scripted", "test/other"]

    async def chat(self, handle: str) -> Any:
        if handle not in self.handles():
            raise LookupError(f"Handle {handle} not found, must be one of {self.handles()}")
        return self.model
