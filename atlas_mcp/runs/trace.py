"""The root span of an attempt at a run: one trace an attempt, linked to the call that asked for the run."""

from __future__ import annotations

import json
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind, Status, StatusCode, format_trace_id
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


@contextmanager
def attempt_span(run_id: str, kind: RunKind, goal: str, order: Order, attempt: int) -> Generator[AttemptSpan]:
    """The current span while the body runs, ended with it. A body that sets no status was cancelled."""
    span = trace.get_tracer("atlas").start_span(
        f"run {kind}",
        context=Context(),
        kind=SpanKind.INTERNAL,
        links=_links(order.traceparent),
        attributes={
            "mlflow.spanType": "WORKFLOW",
            "mlflow.spanInputs": json.dumps({"goal": goal[:_GOAL_SHOWN]}, ensure_ascii=False),
            "mlflow.traceTag.mlflow.traceName": f"run {kind}",
            "mlflow.traceTag.atlas.run": run_id,
            "session.id": run_id,
            "user.id": order.caller.id,
            "atlas.attempt": attempt,
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
        """The trace's id in hexadecimal; None where nothing is recorded."""
        context = self._span.get_span_context()
        return format_trace_id(context.trace_id) if context.is_valid else None

    def settle(self, outcome: str, text: str) -> None:
        """Say how the attempt ended: `completed`, `failed` or `cancelled`. The first word stands."""
        if self._settled:
            return
        self._settled = True
        self._span.set_attribute("mlflow.spanOutputs", json.dumps({"status": outcome, "text": text}))
        self._span.set_attribute("mlflow.traceTag.atlas.status", outcome)
        ok = outcome == "completed"
        self._span.set_status(Status(StatusCode.OK) if ok else Status(StatusCode.ERROR, text))


def _links(traceparent: str | None) -> list[Link]:
    if traceparent is None:
        return []
    context = trace.get_current_span(_W3C.extract({"traceparent": traceparent}, Context())).get_span_context()
    return [Link(context)] if context.is_valid else []
