"""The scripted model: a chat model that answers as a script says, and where that says nothing leaves the answer to
another, which is the offline model unless the script names one.

For tests of what is built on ATLAS, and for faults put into work that is otherwise real. There is no network in it; the
same calls in the same order get the same answers. How far its rules are is this process's alone.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import anyio
from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel, LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.messages.tool import tool_call
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import Runnable
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import PrivateAttr

from atlas_mcp.model.script import ModelError, Part, Reply, Script
from atlas_mcp.models.chain import Member
from atlas_mcp.models.offline.model import chunks_of, result_of, usage_of
from atlas_mcp.models.offline.prompt import Prompt, is_summary, read_persona, read_prompt

_STATUS: dict[ModelError, int] = {"rate limit": 429, "outage": 503, "bad key": 401}
_PARTS: dict[str, Part] = {
    "Plan": "plan",
    "Delegation": "delegation",
    "Decision": "decision",
    "Verdict": "verdict",
    "Statement": "statement",
    "Points": "points",
    "Proposals": "learning",
}


class ScriptedFailure(Exception):
    """How a provider fails, with the HTTP status it would give."""

    def __init__(self, error: ModelError) -> None:
        super().__init__(f"the script says so: {error}")
        self.status_code = _STATUS[error]


class ScriptedModel(BaseChatModel):
    """The model; `otherwise` answers what no rule does."""

    script: Script
    otherwise: Member
    _given: Counter[tuple[int, str]] = PrivateAttr(default_factory=Counter[tuple[int, str]])

    @property
    def _llm_type(self) -> str:
        return "atlas-scripted"

    def bind_tools(
        self,
        tools: Sequence[dict[str, Any] | type | Callable[..., Any] | BaseTool],
        *,
        tool_choice: str | None = None,
        **kwargs: Any,
    ) -> Runnable[LanguageModelInput, AIMessage]:
        """The model with these tools, for whoever answers."""
        return self.bind(tools=[convert_to_openai_tool(t) for t in tools], tool_choice=tool_choice, **kwargs)

    async def _agenerate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = await self._say(messages)
        return result_of(said) if said else await self.otherwise.answer(messages, stop, kwargs)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        if said := await self._say(messages):
            for chunk in chunks_of(said):
                yield chunk
            return
        async for chunk in self.otherwise.stream(messages, stop, kwargs):
            yield chunk

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        said = anyio.run(self._say, messages)
        return result_of(said) if said else self.otherwise.answer_now(messages, stop, kwargs)

    async def _say(self, messages: list[BaseMessage]) -> AIMessage | None:
        """What the script has the model say to this; None where it has nothing."""
        for reply in self._replies(messages):
            await anyio.sleep(reply.seconds)
            if reply.hold:
                await anyio.sleep_forever()
            match reply.error:
                case "timeout":
                    raise TimeoutError("the script says so: no answer in time")
                case "empty":
                    raise EOFError
                case None:
                    if (said := _message(reply, messages)) is not None:
                        return said
                case error:
                    raise ScriptedFailure(error)
        return None

    def _replies(self, messages: list[BaseMessage]) -> list[Reply]:
        """The replies that are due: slow ones, and the one that answers, if a rule has it."""
        if is_summary(messages):
            return []
        agent, prompt = read_persona(messages).name, read_prompt(messages)
        part, asked = part_of(prompt), _asked(messages)
        due: list[Reply] = []
        for number, rule in enumerate(self.script.rules):
            fits = rule.agent in {None, agent} and rule.part in {None, part} and (rule.says or "") in asked
            given = self._given[number, agent]
            if not fits or (given >= len(rule.replies) and not rule.always):
                continue
            self._given[number, agent] += 1
            reply = rule.replies[min(given, len(rule.replies) - 1)]
            due.append(reply)
            if reply.hold or reply.error or _says(reply):
                break
        return due


def part_of(prompt: Prompt | None) -> Part:
    """For which part of the work that prompt asks."""
    if prompt is None:
        return "chat"
    match prompt.answer:
        case "Findings":
            return "findings" if prompt.every("materials") else "merging"
        case "Draft":
            return "revise" if prompt.one("feedback") else "edit" if prompt.every("draft") else "write"
        case answer:
            return _PARTS.get(answer, "chat")


def _asked(messages: Sequence[BaseMessage]) -> str:
    """What the model is asked: the last message of the user, and what tools gave since."""
    last = max((n for n, m in enumerate(messages) if isinstance(m, HumanMessage)), default=0)
    return "\n\n".join(m.text for m in messages[last:] if isinstance(m, HumanMessage | ToolMessage))


def _says(reply: Reply) -> bool:
    return reply.text is not None or reply.answer is not None or reply.tools is not None


def _message(reply: Reply, messages: list[BaseMessage]) -> AIMessage | None:
    if not _says(reply):
        return None
    words = json.dumps(reply.answer, ensure_ascii=False) if reply.answer is not None else reply.text or ""
    calls = [
        tool_call(name=call.tool, args=call.arguments, id=_id(messages, number, call.tool))
        for number, call in enumerate(reply.tools or ())
    ]
    usage = usage_of(messages, {}, words + json.dumps([call["args"] for call in calls] if calls else ""))
    metadata = {"model_name": "scripted", "model_provider": "scripted", "finish_reason": "stop"}
    return AIMessage(content=words, tool_calls=calls, usage_metadata=usage, response_metadata=metadata)


def _id(messages: Sequence[BaseMessage], number: int, name: str) -> str:
    key = json.dumps([len(messages), number, name, messages[-1].text])
    return f"call_{hashlib.sha256(key.encode()).hexdigest()[:24]}"
