"""The span of an attempt at a run. It belongs to the trace of the call that asked for the run, also when that call has
long returned and in another process: one trace shows the call, every attempt, and all that was done.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind, Status, StatusCode, format_trace_id
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.trace import Span

    from atlas_mcp.model.run import RunKind
    from atlas_mcp.runs.rows import Order

_W3C = TraceContextTextMapPropagator()
_GOAL_SHOWN = 10_000


def current_traceparent() -> str | None:
    """The span that is current, as W3C writes it; None without one."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier)
    return carrier.get("traceparent")


def trace_of(traceparent: str | None) -> str | None:
    """The id, as MLflow has it, of the trace that the attempts at a run which was asked for from there belong to."""
    asked = _asked(traceparent)
    return _shown(trace.get_current_span(asked)) if asked else None


@contextmanager
def attempt_span(run_id: str, kind: RunKind, goal: str, order: Order, attempt: int) -> Generator[AttemptSpan]:
    """The current span while the body runs, ended with it. A body that sets no status was cancelled."""
    asked = _asked(order.traceparent)
    own = {
        "mlflow.traceTag.mlflow.traceName": f"run {kind}",
        "mlflow.traceTag.atlas.run": run_id,
        "mlflow.traceTag.atlas.kind": "work",
    }
    span = trace.get_tracer("atlas").start_span(
        f"run {kind}",
        context=asked or Context(),
        kind=SpanKind.INTERNAL,
        attributes={
            "mlflow.spanType": "WORKFLOW",
            "mlflow.spanInputs": json.dumps({"goal": goal[:_GOAL_SHOWN]}, ensure_ascii=False),
            "session.id": run_id,
            "atlas.run": run_id,
            "atlas.attempt": attempt,
            **({} if asked else own),
        },
    )
    kept = AttemptSpan(span)
    try:
        with trace.use_span(span, end_on_exit=False, record_exception=False, set_status_on_exception=False):
            yield kept
    finally:
        kept.settle("cancelled", "cancelled")
        span.end()


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


def _shown(span: Span) -> str | None:
    context = span.get_span_context()
    return f"tr-{format_trace_id(context.trace_id)}" if context.is_valid else None


def _asked(traceparent: str | None) -> Context | None:
    """The span that asked for the run, as a parent; None where nobody's trace asked."""
    if traceparent is None:
        return None
    context = _W3C.extract({"traceparent": traceparent}, Context())
    return context if trace.get_current_span(context).get_span_context().is_valid else None
