"""Spans of a turn, its model calls and its tools, by OpenTelemetry's API; where they go is the host program's business.

Every span ends with OK or ERROR, also when it is cancelled. Inputs and outputs are bounded JSON texts, and are only
made when somebody records.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, Status, StatusCode

_CHARS = 16_000
_TRACER = trace.get_tracer("atlas")  # a proxy: it finds the host program's provider when there is one


@dataclass
class Work:
    """What happens inside one span."""

    span: Span
    failure: str | None = None

    def outputs(self, value: Callable[[], Any]) -> None:
        """Notes what came out."""
        if self.span.is_recording():
            self.span.set_attribute("mlflow.spanOutputs", bounded(value()))

    def note(self, key: str, value: str | int) -> None:
        self.span.set_attribute(key, value)

    def fail(self, reason: str) -> None:
        """Lets the span end as an error although nothing is raised."""
        self.failure = reason


@contextmanager
def span(name: str, kind: str, inputs: Callable[[], Any], **attributes: str | int) -> Generator[Work]:
    """A span of MLflow's kind `kind`. In the attributes' names `__` stands for a dot."""
    with _TRACER.start_as_current_span(name, record_exception=False, set_status_on_exception=False) as current:
        work = Work(current)
        if current.is_recording():
            current.set_attributes({"mlflow.spanType": kind, "mlflow.spanInputs": bounded(inputs())})
            current.set_attributes({key.replace("__", "."): value for key, value in attributes.items()})
        try:
            yield work
        except Exception as error:
            work.failure = str(error) or type(error).__name__
            raise
        except BaseException:
            work.failure = "cancelled"
            raise
        finally:
            failed = work.failure is not None
            current.set_status(
                Status(StatusCode.ERROR, (work.failure or "")[:1_000]) if failed else Status(StatusCode.OK)
            )


def conversation(thread_id: str) -> dict[str, str]:
    """The attribute that names the conversation. None inside a span of the host program's: that tells what session its
    work belongs to.
    """
    inside = trace.get_current_span().get_span_context().is_valid
    return {} if inside else {"gen_ai__conversation__id": thread_id}


def bounded(value: Any) -> str:
    """JSON of at most some 16,000 characters; a longer one becomes one JSON string of its beginning."""
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= _CHARS else json.dumps(text[:_CHARS] + "...", ensure_ascii=False)
