"""The span of an attempt at a run. It belongs to the trace of the call that asked for the run, also when that call has
long returned and in another process: one trace shows the call, every attempt, and all that was done. A run that no call
asked for has a trace of its own.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import context, trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from atlas_mcp.model.caller import hashed_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from opentelemetry.trace import Span

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.question import Asking
    from atlas_mcp.model.run import RunKind
    from atlas_mcp.runs.rows import Order

_W3C = TraceContextTextMapPropagator()
_tracer = trace.get_tracer("atlas")
_GOAL_SHOWN = 10_000
_WHOLES = ("team_task", "rating")
_SESSION = "atlas.session"
"""The key of OpenTelemetry's context under which what is done below finds the session that it belongs to."""


def asked_from(run_id: str, kind: RunKind, goal: str, caller: Caller) -> str | None:
    """The span that asks for the run, as W3C writes it: the current one; without one a root that is begun for the run
    and ended at once, so that all attempts stand in one trace. None where nothing is recorded.
    """
    if trace.get_current_span().get_span_context().is_valid:
        return current_traceparent()
    attributes = {
        **_described(run_id, kind, goal),
        "mlflow.traceTag.mlflow.traceName": f"run {kind}",
        "mlflow.traceTag.atlas.kind": "work",
        "user.id": hashed_caller(caller.id),
    }
    root = _tracer.start_span(f"ask for {kind}", context=Context(), attributes=attributes)
    root.set_status(Status(StatusCode.OK))
    root.end()
    return current_traceparent(trace.set_span_in_context(root, Context()))


def current_traceparent(inside: Context | None = None) -> str | None:
    """The span that is current, or that of the context, as W3C writes it; None without one."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, inside)
    return carrier.get("traceparent")


def current_trace() -> str | None:
    """The id of the current trace as MLflow has it; None where nothing is recorded."""
    here = trace.get_current_span()
    return _shown(here) if here.is_recording() else None


def trace_of(traceparent: str | None) -> str | None:
    """The id, as MLflow has it, of the trace that the attempts at a run which was asked for from there belong to."""
    asked = _asked(traceparent)
    return _shown(trace.get_current_span(asked)) if asked else None


@contextmanager
def attempt_span(run_id: str, kind: RunKind, goal: str, order: Order, attempt: int) -> Generator[AttemptSpan]:
    """The current span while the body runs, ended with it. A body that sets no status was cancelled."""
    asked = _asked(order.traceparent)
    own = {"mlflow.traceTag.mlflow.traceName": f"run {kind}", "mlflow.traceTag.atlas.kind": "work"}
    span = _tracer.start_span(
        f"run {kind}",
        context=asked or Context(),
        kind=SpanKind.INTERNAL,
        attributes={**_described(run_id, kind, goal), "atlas.attempt": attempt, **({} if asked else own)},
    )
    # The conversations that a task opens for its agents are part of one whole; a turn's or a talk's own is its session.
    inside = {_SESSION: run_id} if kind in _WHOLES else {}
    token = context.attach(Context({**context.get_current(), **inside}))
    kept = AttemptSpan(span)
    try:
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield kept
    finally:
        kept.settle("cancelled", "cancelled")
        span.end()
        context.detach(token)


class AttemptSpan:
    """The span of an attempt, until it has its status."""

    def __init__(self, span: Span) -> None:
        self._span = span
        self._settled = False

    @property
    def trace_id(self) -> str | None:
        """The trace's id as MLflow has it; None where nothing is recorded."""
        return _shown(self._span)

    def settle(self, outcome: str, text: str) -> None:
        """Say how the attempt ended: `completed`, `awaiting_answer`, `failed` or `cancelled`. The first word stands."""
        if self._settled:
            return
        self._settled = True
        self._span.set_attribute("mlflow.spanOutputs", json.dumps({"status": outcome, "text": text}))
        self._span.set_attribute("mlflow.traceTag.atlas.status", outcome)
        ok = outcome in ("completed", "awaiting_answer")
        self._span.set_status(Status(StatusCode.OK) if ok else Status(StatusCode.ERROR, text))


@contextmanager
def question_span(asking: Asking) -> Generator[Callable[[str | None], None]]:
    """A span around putting a question; the body gives it the answer, or None where the run waits for one."""
    asked = json.dumps({"asked_by": asking.asked_by, "kind": asking.kind, "text": asking.text}, ensure_ascii=False)
    attributes = {"mlflow.spanType": "GUARDRAIL" if asking.kind == "approval" else "TASK", "mlflow.spanInputs": asked}
    with _tracer.start_as_current_span(f"question of {asking.asked_by}", attributes=attributes) as span:

        def answered(answer: str | None) -> None:
            told = {"answer": answer, "waits": answer is None}
            span.set_attribute("mlflow.spanOutputs", json.dumps(told, ensure_ascii=False))

        yield answered


def _described(run_id: str, kind: RunKind, goal: str) -> dict[str, str]:
    return {
        "mlflow.spanType": "WORKFLOW",
        "mlflow.spanInputs": json.dumps({"goal": goal[:_GOAL_SHOWN]}, ensure_ascii=False),
        "mlflow.traceTag.atlas.run": run_id,
        **({"session.id": run_id} if kind in _WHOLES else {}),
        "atlas.run": run_id,
        "atlas.run.kind": kind,
    }


def _shown(span: Span) -> str | None:
    here = span.get_span_context()
    return f"tr-{format_trace_id(here.trace_id)}" if here.is_valid else None


def _asked(traceparent: str | None) -> Context | None:
    """The span that asked for the run, as a parent; None where nobody's trace asked."""
    if traceparent is None:
        return None
    asked = _W3C.extract({"traceparent": traceparent}, Context())
    return asked if trace.get_current_span(asked).get_span_context().is_valid else None
