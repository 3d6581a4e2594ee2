"""OpenTelemetry's provider: made once for a process, and open to one taker of spans at a time.

OpenTelemetry lets the provider be set once and never taken back. So it is set at the first `join_provider` and stays;
while nobody takes spans its sampler drops all of them, which costs next to nothing. A provider that the embedding
program has set is used as it is, and gets every span as before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
    from opentelemetry.sdk.trace.sampling import SamplingResult
    from opentelemetry.trace import Link, SpanKind, TraceState
    from opentelemetry.util.types import Attributes

Taker = Callable[["ReadableSpan"], None]

_NOISE: Final = (
    "ping",
    "initialize",
    "notifications/",
    "server/discover",
    "tools/list",
    "prompts/",
    "resources/",
    "completion/",
    "logging/",
    "MCP send",
)
"""Roots that tell nothing: what the MCP SDK itself would trace."""

_log = logging.getLogger(__name__)
_takers: list[Taker] = []
_joined: list[TracerProvider] = []


@contextmanager
def join_provider(take: Taker) -> Generator[Mapping[str, Any]]:
    """Give every finished span to `take` while the body runs; the body gets the resource they belong to."""
    resource = _provider().resource.attributes
    _takers.append(take)
    try:
        yield resource
    finally:
        _takers.remove(take)


def _provider() -> TracerProvider:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    current = trace.get_tracer_provider()
    if isinstance(current, TracerProvider) and current in _joined:
        return current
    provider = current if isinstance(current, TracerProvider) else _new_provider()
    provider.add_span_processor(_processor())
    _joined.append(provider)
    if provider is not current:
        trace.set_tracer_provider(provider)
    return provider


def _new_provider() -> TracerProvider:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import SpanLimits, TracerProvider
    from opentelemetry.sdk.trace.sampling import ParentBased

    sampler = _sampler()
    return TracerProvider(
        resource=Resource({"service.name": "atlas-mcp"}),
        # A remote caller that does not sample does not decide for us.
        sampler=ParentBased(root=sampler, remote_parent_sampled=sampler, remote_parent_not_sampled=sampler),
        span_limits=SpanLimits(max_span_attribute_length=100_000, max_events=64, max_links=16),
        shutdown_on_exit=False,
    )


def _processor() -> Any:
    from opentelemetry.sdk.trace import SpanProcessor

    class Relay(SpanProcessor):
        """Hands each finished span to whoever takes them now."""

        def on_start(self, span: Span, parent_context: Context | None = None) -> None:
            """Nothing is known of a span before its end."""

        def on_end(self, span: ReadableSpan) -> None:
            if not _takers or not (span.context and span.context.trace_flags.sampled):
                return
            try:
                _takers[-1](span)
            except Exception:  # noqa: BLE001 - raised here it would reach the code that is watched
                _log.debug("a span was not taken", exc_info=True)

        def shutdown(self) -> None:
            """The takers close themselves."""

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    return Relay()


def _sampler() -> Any:
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult

    class Useful(Sampler):
        """Keeps a root unless it is noise or nobody takes spans; what is below a root goes with it."""

        def should_sample(
            self,
            parent_context: Context | None,
            trace_id: int,
            name: str,
            kind: SpanKind | None = None,
            attributes: Attributes = None,
            links: Sequence[Link] | None = None,
            trace_state: TraceState | None = None,
        ) -> SamplingResult:
            kept = _takers and not name.startswith(_NOISE)
            return SamplingResult(Decision.RECORD_AND_SAMPLE if kept else Decision.DROP, attributes, trace_state)

        def get_description(self) -> str:
            return "AtlasUseful"

    return Useful()
