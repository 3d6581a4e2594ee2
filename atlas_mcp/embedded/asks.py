"""A request for a turn, checked and in one form, whatever path and message form it came by."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from atlas_mcp.embedded.bodies import Part, ReturnedTool, Send, SentMessage
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.entries import Entry
from atlas_mcp.embedded.faults import Refused

_RETURN_CHARS = 50_000


@dataclass(frozen=True)
class ToolAnswer:
    """What the caller says about one tool call that waited for it."""

    call_id: str
    text: str
    status: str


@dataclass(frozen=True)
class Ask:
    """One request: messages, or answers to a paused turn's calls. Without `conversation_id`: the agent's own thread."""

    agent_id: str
    conversation_id: str | None
    run_id: str
    turn_id: str
    messages: tuple[Entry, ...]
    answers: tuple[ToolAnswer, ...]
    answers_otid: str | None
    client_tools: tuple[str, ...] | None
    max_steps: int
    stream_tokens: bool
    override_model: str | None
    override_system: str | None
    background: bool = False

    @property
    def thread_id(self) -> str:
        return self.conversation_id or self.agent_id

    @property
    def otids(self) -> list[str]:
        given = [entry.otid for entry in self.messages] + [self.answers_otid]
        return [otid for otid in given if otid]


def read(send: Send, agent_id: str, conversation_id: str | None, *, background: bool = False) -> Ask:
    """The request as an Ask. Raises a 422 for what cannot be a turn."""
    sent = list(send.messages or [])
    if send.input is not None:
        sent.append(SentMessage(role="user", content=send.input))
    if not sent:
        raise Refused(422, "Messages must not be empty")
    run_id = new_id("run")
    turn_id = run_id.replace("run", "turn", 1)  # the run that begins a turn gives it its id
    replies = [message for message in sent if message.type in {"approval", "tool_return"}]
    if replies and len(sent) > 1:
        raise Refused(422, "Tool returns and approvals are sent alone, not together with other messages")
    tools = None if send.client_tools is None else tuple(_schema(tool.model_dump()) for tool in send.client_tools)
    return Ask(
        agent_id=agent_id,
        conversation_id=conversation_id,
        run_id=run_id,
        turn_id=turn_id,
        messages=() if replies else tuple(_entry(message, run_id, turn_id) for message in sent),
        answers=_answers(replies[0]) if replies else (),
        answers_otid=replies[0].otid if replies else None,
        client_tools=tools,
        max_steps=send.max_steps,
        stream_tokens=send.stream_tokens,
        override_model=send.override_model,
        override_system=send.override_system,
        background=background,
    )


def _schema(tool: dict[str, object]) -> str:
    return json.dumps({"name": tool["name"], "description": tool["description"], "parameters": tool["parameters"]})


def _entry(message: SentMessage, run_id: str, turn_id: str) -> Entry:
    text = _text(message.content)
    if not text.strip():
        raise Refused(422, "A message must not be empty")
    kind = message.role
    body = {"name": message.name, "sender_id": message.sender_id} if message.name or message.sender_id else {}
    return Entry(new_id("message"), kind, text, body, turn_id, run_id, now(), None, message.otid)


def _answers(message: SentMessage) -> tuple[ToolAnswer, ...]:
    replies = message.tool_returns if message.type == "tool_return" else message.approvals
    if message.type == "approval" and not replies and message.approve is False:
        return (ToolAnswer("", _denied(message.reason), "error"),)
    if not replies:
        raise Refused(422, "The tool returns are missing: send one for each tool call that waits")
    return tuple(_answer(reply) for reply in replies)


def _answer(reply: ReturnedTool) -> ToolAnswer:
    if reply.tool_return is not None:
        return ToolAnswer(reply.tool_call_id, _text(reply.tool_return), reply.status)
    if reply.approve is False:
        return ToolAnswer(reply.tool_call_id, _denied(reply.reason), "error")
    raise Refused(422, f"The tool of call {reply.tool_call_id} runs at the caller: send its tool_return")


def _denied(reason: str | None) -> str:
    return f"The call was denied{f': {reason}' if reason else '.'}"


def _text(content: str | list[Part] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if any(part.type != "text" for part in content):
        raise Refused(422, "Only text content is understood here")
    return "\n".join(part.text or "" for part in content)


def resumed(ask: Ask, paused: sqlite3.Row | None, history: Sequence[Entry]) -> list[Entry]:
    """The tool returns of a paused turn as entries. Raises a 400 unless each waiting call is answered exactly once."""
    if paused is None:
        return []
    calls: dict[str, str] = {call["id"]: call["name"] for call in json.loads(paused["calls"])}
    answers = ask.answers
    if len(answers) == 1 and not answers[0].call_id:  # one denial for all of them
        answers = tuple(replace(answers[0], call_id=call_id) for call_id in calls)
    given = [answer.call_id for answer in answers]
    if sorted(given) != sorted(calls):
        raise Refused(
            400,
            "INVALID_ARGUMENT: the turn waits for one return of each of these tool calls, and no other:"
            f" {', '.join(calls)}. Given: {', '.join(given)}",
        )
    step_id = next((entry.step_id for entry in reversed(history) if entry.client_calls), None)
    return [
        Entry(
            new_id("message"),
            "tool",
            answer.text[:_RETURN_CHARS],
            {"call_id": answer.call_id, "name": calls[answer.call_id], "status": answer.status},
            paused["turn_id"],
            ask.run_id,
            now(),
            step_id,
            ask.answers_otid if index == 0 else None,
        )
        for index, answer in enumerate(answers)
    ]
