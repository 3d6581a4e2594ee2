"""What a Letta elsewhere does in a turn, as spans: its model calls and its own tools, as far as its stream tells.

Letta's stream names the step of each event, and a step is one call of the agent's model. A step is shown from when
there was something to answer to the last event of it; a tool that Letta executed, from the call to its return. The
embedded Letta opens such spans itself, and is not watched here.
"""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.trace import Status, StatusCode

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.trace import Span

_TEXT = 8_000
_tracer = trace.get_tracer("atlas")


class StepSpans:
    """The spans of one turn."""

    def __init__(self, *, shown: bool) -> None:
        self._shown = shown
        self._since = 0
        self._step: str | None = None
        self._calling: Span | None = None
        self._said: list[str] = []
        self._called: dict[str, int] = {}

    @contextmanager
    def round(self) -> Generator[None]:
        """Around one message to Letta and all that comes of it."""
        self._since = _now()
        why = "cancelled"
        try:
            yield
            why = ""
        except Exception as error:
            why = f"{type(error).__name__}: {error}"[:_TEXT]
            raise
        finally:
            self._end(why)

    def take(self, event: Any) -> None:
        """Note an event of the stream."""
        step = getattr(event, "step_id", None)
        if not self._shown or not step:
            return
        kind = getattr(event, "message_type", "")
        if kind == "tool_return_message":
            self._returned(event)
            return
        if step != self._step:
            self._end("")
            self._step = step
            self._calling = _tracer.start_span("chat", start_time=self._since)
            self._calling.set_attributes(
                {"mlflow.spanType": "CHAT_MODEL", "gen_ai.operation.name": "chat", "letta.step": step}
            )
        self._since = _now()
        if kind == "assistant_message" and isinstance(event.content, str):
            self._said.append(event.content)
        elif kind in ("tool_call_message", "approval_request_message"):
            self._called.setdefault(getattr(event.tool_call, "tool_call_id", None) or "", self._since)
            self._said.append(f"[calls {getattr(event.tool_call, 'name', None) or 'a tool'}]")

    def _returned(self, event: Any) -> None:
        self._end("")
        name, now = getattr(event, "name", None) or "a tool", _now()
        began = self._called.pop(event.tool_call_id, self._since)
        told = json.dumps(str(event.tool_return)[:_TEXT], ensure_ascii=False)
        tool = _tracer.start_span(f"execute_tool {name}", start_time=began)
        tool.set_attributes({"mlflow.spanType": "TOOL", "gen_ai.tool.name": name, "mlflow.spanOutputs": told})
        failed = event.status == "error"
        tool.set_status(Status(StatusCode.ERROR, "the tool failed") if failed else Status(StatusCode.OK))
        tool.end()
        self._since = now

    def _end(self, why: str) -> None:
        """End the model call that is open, at the moment of its last event."""
        if self._calling is not None:
            self._calling.set_attribute("mlflow.spanOutputs", json.dumps("".join(self._said)[:_TEXT]))
            self._calling.set_status(Status(StatusCode.ERROR, why) if why else Status(StatusCode.OK))
            self._calling.end(self._since)
        self._calling, self._step = None, None
        self._said = []


def _now() -> int:
    """This moment by the clock of the trace, where it has one of its own: the machine's may be set meanwhile."""
    told = getattr(trace.get_current_span(), "now", None)
    return told() if told is not None else time.time_ns()
