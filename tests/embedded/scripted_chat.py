"""A language model of these tests' own: in process, without delay, told by the message what to do.

    say TEXT                       says the text; a stream brings it word by word
    call NAME {...} and NAME {...} calls these tools, then tells what they returned
    fail STATUS                    fails as a provider's client does
    hold ...                       waits for `gate`, in a stream after the first word

Anything else is answered with "ok: " and itself. `answer`, when a test sets it, decides instead.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

_CALL = re.compile(r"(\w+) (\{.*?\})(?= and |$)")


class ProviderError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"the provider said {status}")
        self.status_code = status


class ScriptedChat(BaseChatModel):
    """`seen` gathers the prompt of every call, `tools` what was bound last. `gate` and `reached` are made by `hold`."""

    seen: list[list[BaseMessage]] = Field(default_factory=list)
    tools: list[Any] = Field(default_factory=list)
    gate: Any = None
    reached: Any = None
    answer: Callable[[list[BaseMessage]], AIMessage] | None = None
    usage: bool = True

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **_: Any) -> Any:
        self.tools[:] = list(tools)
        return self

    def hold(self) -> None:
        self.gate, self.reached = anyio.Event(), anyio.Event()

    def asked(self) -> list[str]:
        """The last user text of every call so far."""
        return [_asked(messages) for messages in self.seen]

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    async def _agenerate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        self.seen.append(messages)
        await self._wait(messages)
        return self._generate(messages)

    async def _astream(self, messages: list[BaseMessage], *_: Any, **__: Any) -> AsyncIterator[ChatGenerationChunk]:
        self.seen.append(messages)
        reply = self._reply(messages)
        for index, word in enumerate(re.findall(r"\S+\s*", str(reply.content))):
            if index == 1:
                await self._wait(messages)
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        calls: list[Any] = [
            {"name": c["name"], "args": json.dumps(c["args"]), "id": c["id"], "index": i, "type": "tool_call_chunk"}
            for i, c in enumerate(reply.tool_calls)
        ]
        last = AIMessageChunk(content="", tool_call_chunks=calls, usage_metadata=reply.usage_metadata)
        yield ChatGenerationChunk(message=last)

    async def _wait(self, messages: list[BaseMessage]) -> None:
        if self.gate is not None and _asked(messages).startswith("hold"):
            self.reached.set()
            await self.gate.wait()

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        if self.answer is not None:
            return self.answer(messages)
        asked, returns = _asked(messages), _returns(messages)
        if returns:
            return self._said("tools said: " + " | ".join(returns))
        if asked.startswith("call "):
            calls = [
                {"name": name, "args": json.loads(args), "id": f"call_{len(messages)}_{i}", "type": "tool_call"}
                for i, (name, args) in enumerate(_CALL.findall(asked))
            ]
            return self._said("", calls)
        if asked.startswith("fail "):
            raise ProviderError(int(asked.split()[1]))
        return self._said(asked.removeprefix("say ") if asked.startswith("say ") else f"ok: {asked}")

    def _said(self, text: str, calls: list[Any] | None = None) -> AIMessage:
        used: Any = {"input_tokens": 5, "output_tokens": 3, "total_tokens": 8} if self.usage else None
        return AIMessage(text, tool_calls=calls or [], usage_metadata=used)


def _asked(messages: list[BaseMessage]) -> str:
    return next((str(m.content) for m in reversed(messages) if isinstance(m, HumanMessage)), "")


def _returns(messages: list[BaseMessage]) -> list[str]:
    returns: list[str] = []
    for message in reversed(messages):
        if not isinstance(message, ToolMessage):
            break
        returns.append(str(message.content))
    return returns[::-1]


class Source:
    """A ModelSource with one model under two handles."""

    def __init__(self, chat: ScriptedChat | None = None) -> None:
        self.model = chat or ScriptedChat()

    def handles(self) -> list[str]:
        return ["test/scripted", "test/other"]

    async def chat(self, handle: str) -> Any:
        if handle not in self.handles():
            raise LookupError(f"Handle {handle} not found, must be one of {self.handles()}")
        return self.model
