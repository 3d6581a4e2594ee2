"""Reading a turn's messages, as they stream or as the thread lists them, into one answer.

The answer's text is what the agent said after its last tool call; if it said nothing there, what it said last.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.letta.faults import turn_failed
from atlas_mcp.letta.states import Answer, ToolCall

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.errors import AtlasError

PASSING_STOPS = frozenset({"error", "llm_api_error", "invalid_llm_response", "invalid_tool_call", "cancelled"})
LASTING_STOPS = frozenset({"insufficient_credits", "context_window_overflow_in_system_prompt"})
"""Why a turn ended without an answer: what may go well another time, and what goes the same way again."""


class TurnReader:
    """What has been read of one turn so far."""

    def __init__(self) -> None:
        self.stop_reason: str | None = None
        self.runs: list[str] = []
        self.otids: set[str] = set()
        self.failure: AtlasError | None = None
        self._texts: list[dict[str, str]] = [{}]
        self._calls: dict[str, list[str]] = {}
        self._returned: set[str] = set()
        self._failed: set[str] = set()
        self._asked: list[str] = []
        self._input_tokens = 0
        self._output_tokens = 0

    def read(self, message: Any) -> None:
        """Take in one message or event of letta-client."""
        run_id = getattr(message, "run_id", None)
        if run_id and run_id not in self.runs:
            self.runs.append(run_id)
        match getattr(message, "message_type", None):
            case "user_message":
                self.otids.add(message.otid or "")
            case "assistant_message":
                said = self._texts[-1]
                said[message.id] = said.get(message.id, "") + plain(message.content)
            case "tool_call_message":
                self._read_calls(message, asked=False)
            case "approval_request_message":
                self._read_calls(message, asked=True)
            case "tool_return_message":
                self._read_returns(message)
            case "approval_response_message":  # a server's listing has our tool returns under this name, too
                self._read_ids(message.approvals)
            case "usage_statistics":
                self.spent(max(0, message.prompt_tokens or 0), max(0, message.completion_tokens or 0))
            case "stop_reason":
                self.stop_reason = message.stop_reason
            case "error_message":
                text = f"{message.message} {message.detail or ''}".strip()
                self.failure = turn_failed(message.error_type or "", text)
            case _:
                pass

    def returned(self, ids: Iterable[str]) -> None:
        """Note that these calls have their answers."""
        self._returned.update(ids)

    def spent(self, input_tokens: int, output_tokens: int) -> None:
        """Count these tokens to the turn; the listing of a thread tells none."""
        self._input_tokens += input_tokens
        self._output_tokens += output_tokens

    @property
    def waits_for(self) -> tuple[ToolCall, ...]:
        """The calls that the turn cannot go on without and whose answers are still owed."""
        return tuple(c for c in self.calls if c.id in self._asked and c.id not in self._returned)

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """Every tool call of the turn, in order."""
        return tuple(
            ToolCall(i, name, _arguments(text), ok=i not in self._failed) for i, (name, text) in self._calls.items()
        )

    @property
    def has_answer(self) -> bool:
        """Whether the agent has said anything after its last tool call."""
        return bool(self._said(self._texts[-1]))

    def answer(self) -> Answer:
        """The turn as it stands."""
        texts = [said for said in map(self._said, self._texts) if said]
        return Answer(
            text=texts[-1] if texts else "",
            input_tokens=self._input_tokens,
            output_tokens=self._output_tokens,
            letta_runs=tuple(self.runs),
            tool_calls=self.calls,
        )

    def _said(self, messages: dict[str, str]) -> str:
        return "\n\n".join(text for text in messages.values() if text.strip()).strip()

    def _read_calls(self, message: Any, *, asked: bool) -> None:
        if self._texts[-1]:
            self._texts.append({})
        several: Any = message.tool_calls
        for call in cast("list[Any]", several) if isinstance(several, list) and several else [message.tool_call]:
            if call is None or not call.tool_call_id:
                continue
            known = self._calls.setdefault(call.tool_call_id, ["", ""])
            known[0] = call.name or known[0]
            known[1] = _joined(known[1], call.arguments or "")
            if asked and call.tool_call_id not in self._asked:
                self._asked.append(call.tool_call_id)

    def _read_returns(self, message: Any) -> None:
        if self._texts[-1]:
            self._texts.append({})
        self._returned.add(message.tool_call_id)
        if message.status == "error":
            self._failed.add(message.tool_call_id)
        self._read_ids(message.tool_returns)

    def _read_ids(self, returns: Any) -> None:
        self._returned.update(each.tool_call_id for each in returns or () if getattr(each, "tool_call_id", None))


def plain(content: Any) -> str:
    """A message's content as text; parts that are no text are left out."""
    if isinstance(content, str):
        return content
    return "".join(getattr(part, "text", "") or "" for part in cast("list[Any]", content or []))


def _joined(known: str, more: str) -> str:
    """Arguments arrive whole (then perhaps twice: as call and as request) or in pieces."""
    return more if not known or _is_json(more) else known if more == known else known + more


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _arguments(text: str) -> dict[str, Any]:
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        return {"arguments": text}
    return cast("dict[str, Any]", arguments) if isinstance(arguments, dict) else {"arguments": arguments}
