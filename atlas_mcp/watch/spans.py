"""Spans: what happened, with what, for how long, and how it ended.

Any room opens one around a piece of work. Nothing here ever raises because of tracing, waits for anything, or costs
more than a look-up while no tracing is open. Inputs, outputs and errors are bounded and redacted (see `payload`), and
every span ends with a status: OK, ERROR with `Type: text`, or ERROR `cancelled` for work that was cancelled.

A span follows its task: it works around awaits, and task groups, `anyio.to_thread` and `asyncio.to_thread` carry it
to their children. `loop.run_in_executor` does not.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Generator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import Token
from typing import Final, Literal

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanContext, Status, StatusCode

from atlas_mcp.errors import Waiting
from atlas_mcp.watch.lines import OUR_SCOPE
from atlas_mcp.watch.payload import REDACTED, clean, describe_error, is_secret_key, render
from atlas_mcp.watch.recording import Recorded, Scope

__all__ = [
    "Kind",
    "Span",
    "current_trace_id",
    "failed",
    "finish",
    "hits",
    "in_session",
    "outputs",
    "session",
    "session_of",
    "span",
    "start",
    "tag",
    "usage",
    "waited",
    "within",
]

Kind = Literal[
    "TASK", "TOOL", "AGENT", "CHAT_MODEL", "MEMORY", "CHAIN", "RETRIEVER", "RERANKER", "GUARDRAIL", "EVALUATOR",
    "WORKFLOW", "PARSER", "EMBEDDING", "LLM", "UNKNOWN",
]  # fmt: skip
"""What MLflow shows the span as."""

_MAX_STACK: Final = 6_000
_MAX_ATTRIBUTE: Final = 2_000
_MAX_LABEL: Final = 200
"""MLflow refuses a session of over 250 characters, and with it the whole batch it came in."""

_SHORT_SECONDS: Final = 0.005

_ROOT: Final = context.create_key("atlas-root")
_OK: Final = Status(StatusCode.OK)
_SCOPE: Final = Scope(OUR_SCOPE)
_tracer = trace.get_tracer(OUR_SCOPE)
_log = logging.getLogger(__name__)


class _Opened(AbstractContextManager[Span]):
    """A span around a body. A class: a generator would be a tenth of what a span costs."""

    __slots__ = ("_inside", "_span", "_token")

    def __init__(self, opened: Span) -> None:
        self._span = opened
        self._token: Token[context.Context] | None = None

    def __enter__(self) -> Span:
        if self._span.is_recording() or self._span.get_span_context().is_valid:
            self._inside = _context_of(self._span)
            self._token = context.attach(self._inside)
        return self._span

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if self._token is None:
            return
        finish(self._span, error)
        if context.get_current() is self._inside:
            context.detach(self._token)


def span(
    name: str, kind: Kind | str = "TASK", inputs: object = None, **attributes: object
) -> AbstractContextManager[Span]:
    """Open a span around the body, below the current one, and end it with the body's status.

    `attributes` are set as given; two underscores in a name stand for a dot (`session__id`). Useful ones:
    `session.id` (the conversation), `user.id`, `atlas.memory.store` (where it is kept: `record`, `letta`, `graph`,
    `chroma`), `mlflow.traceTag.<name>` on a root. A root gives its trace its name.
    The body's own exceptions pass through untouched.
    """
    return _Opened(start(name, kind, inputs, attributes))


def start(
    name: str,
    kind: Kind | str = "TASK",
    inputs: object = None,
    attributes: Mapping[str, object] | None = None,
    *,
    links: list[trace.Link] | None = None,
    root: bool = False,
) -> Span:
    """Start a span that the caller ends with `finish`; it does not become the current one. `root` begins a trace."""
    try:
        name = name[:_MAX_LABEL]
        above = None if root or links else trace.get_current_span()
        if type(above) is Recorded:  # as the tracer does it, at two thirds of the price
            opened: Span = above.child(name, _SCOPE)
        else:
            opened = _tracer.start_span(name, context=context.Context() if root else None, links=links)
        if opened.is_recording():
            _describe(opened, name, kind, inputs, attributes)
    except Exception:  # noqa: BLE001 - tracing must never break what it watches
        _log.debug("a span could not be started", exc_info=True)
        return trace.INVALID_SPAN
    return opened


def finish(opened: Span, error: BaseException | None = None) -> None:
    """End a span: ERROR for an error, `cancelled` for a cancellation, else OK unless it was marked as failed.

    That a run waits for an answer is no error.
    """
    try:
        if opened.is_recording():
            _conclude(opened, None if isinstance(error, Waiting) else error)
        opened.end()
    except Exception:  # noqa: BLE001 - tracing must never break what it watches
        _log.debug("a span could not be ended", exc_info=True)


def waited(name: str, seconds: float, **attributes: object) -> None:
    """Record a wait that is just over as a span, if it took more than some milliseconds."""
    if seconds < _SHORT_SECONDS:
        return
    opened = start(name, "TASK", None, {**attributes, "atlas.waited_ms": round(1_000 * seconds, 1)})
    if isinstance(opened, Recorded):
        opened.start_time -= int(seconds * 1e9)
    finish(opened)


def outputs(opened: Span, value: object) -> None:
    """Record what the span's work gave."""
    _set(opened, "mlflow.spanOutputs", value, whole=True)


def hits(opened: Span, number: int) -> None:
    """Record how many a search in memory found."""
    _set(opened, "atlas.memory.hits", number)


def failed(opened: Span, reason: str) -> None:
    """Mark a span as failed though nothing was raised, such as a tool call that answered with an error."""
    try:
        if opened.is_recording():
            opened.set_status(Status(StatusCode.ERROR, clean(reason, 500)))
    except Exception:  # noqa: BLE001 - tracing must never break what it watches
        _log.debug("a span could not be marked", exc_info=True)


def usage(
    opened: Span, *, model: str = "", input_tokens: int = 0, output_tokens: int = 0, cost_usd: float | None = None
) -> None:
    """Record what a model call used. `cost_usd` None: the price is not known, and none is shown."""
    tokens = {
        "input_tokens": input_tokens,
        "output_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }
    provider, _, own = model.rpartition("/")
    if own:
        _set(opened, "mlflow.llm.model", own)
    if provider:
        _set(opened, "mlflow.llm.provider", provider)
    _set(opened, "mlflow.chat.tokenUsage", tokens, whole=True)
    if cost_usd is not None:
        share = cost_usd * input_tokens / max(1, input_tokens + output_tokens)
        cost = {"input_cost": share, "output_cost": cost_usd - share, "total_cost": cost_usd}
        _set(opened, "mlflow.llm.cost", cost, whole=True)


def tag(opened: Span, name: str, value: object) -> None:
    """Tag the trace, by which it is found. Only a root span carries tags."""
    _set(opened, f"mlflow.traceTag.{name}", value)


def note(opened: Span, name: str, value: object) -> None:
    """Set an attribute that is known only now."""
    _set(opened, name, value)


def session(conversation: str) -> None:
    """Name the conversation that the current trace belongs to, by which MLflow groups traces."""
    root = context.get_value(_ROOT)
    if isinstance(root, Span):
        _set(root, "session.id", conversation)


def session_of(conversation: str) -> str:
    """The session that a turn in that conversation belongs to: the task's or the talk's that it is part of, if any."""
    whole = context.get_value("atlas.session")
    return whole if isinstance(whole, str) else conversation


@contextmanager
def in_session(conversation: str) -> Generator[None]:
    """Let what is done in the body belong to that session, whatever conversations it opens."""
    token = context.attach(context.set_value("atlas.session", conversation))
    try:
        yield
    finally:
        context.detach(token)


def current_trace_id() -> str | None:
    """The id by which MLflow knows the current trace (`tr-` and 32 hex digits); None where nothing is recorded."""
    here = trace.get_current_span()
    return f"tr-{here.get_span_context().trace_id:032x}" if here.is_recording() else None


@contextmanager
def within(opened: Span) -> Generator[None]:
    """Make a span the current one. A generator closed from another task leaves that task's own context alone."""
    inside = _context_of(opened)
    token = context.attach(inside)
    try:
        yield
    finally:
        if context.get_current() is inside:
            context.detach(token)


def _context_of(opened: Span) -> context.Context:
    inside = trace.set_span_in_context(opened)
    return context.set_value(_ROOT, opened, inside) if _parent(opened) is None else inside


def _describe(opened: Span, name: str, kind: str, inputs: object, attributes: Mapping[str, object] | None) -> None:
    opened.set_attribute("mlflow.spanType", kind)
    if _parent(opened) is None:
        opened.set_attribute("mlflow.traceTag.mlflow.traceName", name)
    if attributes:
        for key, value in attributes.items():
            _set(opened, key.replace("__", "."), value)
    if inputs is not None:
        opened.set_attribute("mlflow.spanInputs", render(inputs))


def _parent(opened: Span) -> SpanContext | None:
    return getattr(opened, "parent", None)


def _conclude(opened: Span, error: BaseException | None) -> None:
    if error is None:
        marked: Status | None = getattr(opened, "status", None)
        if marked is None or marked.status_code is StatusCode.UNSET:
            opened.set_status(_OK)  # unset counts as a failure on MLflow's pages
    elif isinstance(error, asyncio.CancelledError | GeneratorExit):
        opened.set_status(Status(StatusCode.ERROR, "cancelled"))
    else:
        opened.set_status(Status(StatusCode.ERROR, describe_error(error)))
        opened.add_event("exception", _exception(error))


def _exception(error: BaseException) -> dict[str, str]:
    stack = "".join(traceback.format_tb(error.__traceback__, limit=-20))
    return {
        "exception.type": type(error).__qualname__,
        "exception.message": describe_error(error, 2_000),
        "exception.stacktrace": clean(stack[-_MAX_STACK:], _MAX_STACK),
    }


def _set(opened: Span, key: str, value: object, *, whole: bool = False) -> None:
    try:
        if value is None or not opened.is_recording():
            return
        opened.set_attribute(key, render(value) if whole else _plain(key, value))
    except Exception:  # noqa: BLE001 - tracing must never break what it watches
        _log.debug("a span's attribute could not be set", exc_info=True)


def _plain(key: str, value: object) -> str | int | float | bool:
    if isinstance(value, bool | int | float):
        return value
    if is_secret_key(key):
        return REDACTED
    limit = _MAX_LABEL if key.startswith(("mlflow.traceTag.", "session.", "user.")) else _MAX_ATTRIBUTE
    return clean(value if isinstance(value, str) else render(value), limit)
