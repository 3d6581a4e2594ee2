"""One turn of one agent: its context, its memory, and what it does when the model speaks or calls a tool.

Nothing here is written to the file: a turn collects entries and memory changes, and whoever runs it writes all of them
in one transaction, or none. The loop itself is LangChain's (graph.py), which asks this turn at every step. A call of a
tool that the caller executes stops the loop: the server's own calls of the same step are answered first.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from langchain_core.messages import AIMessage, AnyMessage, SystemMessage, ToolMessage

from atlas_mcp.embedded import entries, history, memory_tools, spans, usage
from atlas_mcp.embedded.database import Database, new_id, now
from atlas_mcp.embedded.doors import ToolRunner
from atlas_mcp.embedded.entries import Entry
from atlas_mcp.embedded.faults import CallerGone, ModelFault, model_fault
from atlas_mcp.embedded.memory import MemoryRefused, WorkingMemory
from atlas_mcp.embedded.prompt import compile_prompt

Ask = Callable[[list[AnyMessage]], Awaitable[AIMessage]]
Emit = Callable[[dict[str, Any]], Awaitable[None]]
_LENGTH_REASONS = frozenset({"length", "max_tokens", "MAX_TOKENS"})
_RETURN_CHARS = 50_000


class TurnStopped(Exception):
    """Raised inside the loop to end it before the model is done; `reason` is Letta's stop reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class ServerTool:
    """An uploaded tool: its function's name is the tool's."""

    source: str
    return_chars: int


@dataclass
class Turn:
    """What one turn knows and gathers. `past` is the thread before it, which the loop need not carry along."""

    id: str
    run_id: str
    agent_id: str
    model: str
    system: str
    memory: WorkingMemory
    database: Database
    emit: Emit
    run_tool: ToolRunner | None = None
    server_tools: Mapping[str, ServerTool] = field(default_factory=dict[str, ServerTool])
    client_tools: frozenset[str] = frozenset()
    stream_tokens: bool = False
    max_steps: int = 50
    archived: int = 0
    earlier: int = 0
    summary: str = ""
    past: list[AnyMessage] = field(default_factory=list[AnyMessage])
    made: list[Entry] = field(default_factory=list[Entry])
    usage: usage.Usage = field(default_factory=usage.Usage)
    steps: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    stop_reason: str = "end_turn"
    _writing: Entry | None = None

    async def think(self, ask: Ask, messages: list[AnyMessage]) -> AIMessage:
        """One model call. Raises ModelFault when the model fails, TurnStopped when the turn has to end here."""
        await self._catch_up(messages)
        if len(self.steps) >= self.max_steps:
            raise TurnStopped("max_steps")
        prompt = self.prompt()
        entry = self._entry("assistant", "", {}, None)
        entry = self._writing = entry._replace(step_id=entry.id.replace("message", "step", 1))
        with spans.span(
            f"chat {self.model}",
            "CHAT_MODEL",
            lambda: [{"role": "system", "content": prompt}, *map(_spoken, [*self.past, *messages])],
            gen_ai__operation__name="chat",
            gen_ai__request__model=self.model,
        ) as span:
            answer = _mended(await self._asked(ask, prompt, messages))
            self._count(span, entry.step_id, answer, prompt, messages)
        await self._said(entry, answer)
        return answer

    async def act(self, call: dict[str, Any]) -> ToolMessage:
        """One tool call of the server's. Whatever goes wrong is told to the model; it never ends the turn."""
        name, call_id = str(call["name"]), str(call["id"])
        with spans.span(
            f"execute_tool {name}",
            "TOOL",
            lambda: call["args"],
            gen_ai__operation__name="execute_tool",
            gen_ai__tool__name=name,
            gen_ai__tool__call__id=call_id,
        ) as span:
            text, status = await self._result(name, call)
            span.outputs(lambda: text)
            if status == "error":
                span.fail(text)
        await self._returned(call_id, name, text, status)
        return ToolMessage(text, tool_call_id=call_id, name=name, status=status)

    async def piece(self, chunk: Any) -> None:
        """Hands a piece of an answer on to the caller while it is being written."""
        entry = self._writing
        if entry is None:
            return
        if thought := history.reasoning_of(chunk):
            await self.send(entries.reasoning(entry, thought))
        if text := history.text_of(chunk):
            await self.send(entries.assistant(entry, text))

    async def send(self, message: dict[str, Any]) -> None:
        try:
            await self.emit(message)
        except Exception as error:
            raise CallerGone from error

    def prompt(self) -> str:
        """The system prompt with the memory as it stands now."""
        blocks = self.memory.blocks.values()
        archived = self.archived + len(self.memory.notes)
        return compile_prompt(self.system, blocks, archived=archived, earlier=self.earlier, summary=self.summary)

    async def _returned(self, call_id: str, name: str, text: str, status: str) -> None:
        step = self.made[-1].step_id if self.made else None
        entry = self._entry("tool", text, {"call_id": call_id, "name": name, "status": status}, step)
        self.made.append(entry)
        await self.send(entries.wire(entry)[0])

    async def _catch_up(self, messages: list[AnyMessage]) -> None:
        """Takes over what the loop itself answered: calls of tools that do not exist never come to this turn."""
        known = {entry.body["call_id"] for entry in self.made if entry.kind == "tool"}
        mine = {call["id"] for entry in self.made for call in entry.calls}
        for message in messages[-len(mine) :] if mine else []:
            if isinstance(message, ToolMessage) and message.tool_call_id in mine - known:
                await self._returned(message.tool_call_id, message.name or "", message.text, message.status)

    async def _asked(self, ask: Ask, prompt: str, messages: list[AnyMessage]) -> AIMessage:
        try:
            return await ask([SystemMessage(prompt), *self.past, *messages])
        except (CallerGone, ModelFault):
            raise
        except Exception as error:
            raise model_fault(error) from error

    def _count(
        self, span: spans.Work, step_id: str | None, answer: AIMessage, prompt: str, messages: list[AnyMessage]
    ) -> None:
        metadata: Any = answer.usage_metadata
        given = made = 0
        if not metadata:
            given = usage.tokens(prompt) + sum(usage.tokens(str(one.content)) for one in [*self.past, *messages])
            made = usage.tokens(history.text_of(answer) + json.dumps([call["args"] for call in answer.tool_calls]))
        used = usage.reported(metadata, prompt=given, completion=made)
        self.usage.add(used)
        self.steps.append({"id": step_id, "model": self.model, "usage": used.stored()})
        reason = answer.response_metadata.get("finish_reason") or answer.response_metadata.get("stop_reason")
        self.stop_reason = "max_tokens_exceeded" if reason in _LENGTH_REASONS else "end_turn"
        span.note("gen_ai.usage.input_tokens", used.prompt)
        span.note("gen_ai.usage.output_tokens", used.completion)
        span.outputs(lambda: _spoken(answer))

    async def _said(self, entry: Entry, answer: AIMessage) -> None:
        body = {
            "calls": [self._call(call) for call in answer.tool_calls],
            "reasoning": history.reasoning_of(answer),
            "raw": history.raw_of(answer),
        }
        said = entry._replace(content=history.text_of(answer), body={key: one for key, one in body.items() if one})
        self._writing = None
        self.made.append(said)
        for message in entries.calls(said) if self.stream_tokens else entries.wire(said):
            await self.send(message)
        if said.client_calls:
            for call in said.calls:
                if not call.get("client"):
                    await self.act(call)
            raise TurnStopped("requires_approval")

    def _call(self, call: Any) -> dict[str, Any]:
        noted = {"id": call["id"] or new_id("call"), "name": call["name"], "args": call["args"]}
        return noted | {"client": True} if call["name"] in self.client_tools else noted

    async def _result(self, name: str, call: dict[str, Any]) -> tuple[str, str]:
        arguments: dict[str, Any] = call["args"]
        try:
            if "__unreadable__" in arguments:
                raise MemoryRefused(f"The arguments of {name} are not valid JSON: {arguments['__unreadable__']}")
            if name in memory_tools.NAMES:
                return await memory_tools.run(name, arguments, self.agent_id, self.memory, self.database), "success"
            tool = self.server_tools.get(name)
            if tool is None:
                return f"There is no tool {name!r}.", "error"
            if self.run_tool is None:
                return f"The tool {name!r} cannot run: this server runs no tool source.", "error"
            return (await self.run_tool(tool.source, name, arguments))[: tool.return_chars], "success"
        except Exception as error:  # noqa: BLE001  # whatever a tool raises belongs to the model, not to the caller
            return (str(error) or type(error).__name__)[:_RETURN_CHARS], "error"

    def _entry(self, kind: entries.Kind, content: str, body: dict[str, Any], step_id: str | None) -> Entry:
        return Entry(new_id("message"), kind, content, body, self.id, self.run_id, now(), step_id)


def _mended(answer: AIMessage) -> AIMessage:
    """Tool calls with unreadable arguments become calls that fail with the reason, so that the model can try again."""
    if not answer.invalid_tool_calls:
        return answer
    broken = [
        {
            "id": call.get("id") or new_id("call"),
            "name": call.get("name") or "unknown",
            "args": {"__unreadable__": str(call.get("args") or call.get("error") or "")[:500]},
            "type": "tool_call",
        }
        for call in answer.invalid_tool_calls
    ]
    return answer.model_copy(update={"tool_calls": [*answer.tool_calls, *broken], "invalid_tool_calls": []})


def _spoken(message: AnyMessage) -> dict[str, Any]:
    calls = message.tool_calls if isinstance(message, AIMessage) else []
    spoken: dict[str, Any] = {"role": message.type, "content": message.content}
    return (
        spoken | {"tool_calls": [{"name": call["name"], "args": call["args"]} for call in calls]} if calls else spoken
    )
