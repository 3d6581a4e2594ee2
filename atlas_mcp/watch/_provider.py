"""Who takes the spans of this process: one taker at a time.

OpenTelemetry lets its provider be set once and never taken back. So ours is set at the first `join_provider` and stays;
while nobody takes spans it drops all of them, which costs next to nothing. A provider of OpenTelemetry's SDK that the
embedding program has set is used as it is, and gets every span as before.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry import trace

from atlas_mcp.watch.recording import Recorded, Recorder

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace import Span as SdkSpan

Ended: TypeAlias = "ReadableSpan | Recorded"
Taker: TypeAlias = Callable[[Ended], None]

_RESOURCE: Final = {"service.name": "atlas-mcp"}

_log = logging.getLogger(__name__)
_takers: list[Taker] = []
_joined: list[trace.TracerProvider] = []


@contextmanager
def join_provider(take: Taker) -> Generator[Mapping[str, Any]]:
    """Give every finished span to `take` while the body runs; the body gets the resource they belong to."""
    resource = _resource(_provider())
    _takers.append(take)
    try:
        yield resource
    finally:
        _takers.remove(take)


def _provider() -> trace.TracerProvider:
    current = trace.get_tracer_provider()
    if current in _joined:
        return current
    add: Any = getattr(current, "add_span_processor", None)
    if add is not None:
        add(_processor())
        _joined.append(current)
        return current
    ours = Recorder(lambda: bool(_takers), _hand_on)
    trace.set_tracer_provider(ours)
    _joined.append(ours)
    return ours


def _resource(provider: trace.TracerProvider) -> Mapping[str, Any]:
    resource: Any = getattr(provider, "resource", None)
    return resource.attributes if resource is not None else _RESOURCE


def _hand_on(span: Ended) -> None:
    if not _takers:
        return
    try:
        _takers[-1](span)
    except Exception:  # noqa: BLE001 - raised here it would reach the code that is watched
        _log.debug("a span was not taken", exc_info=True)


def _processor() -> Any:
    from opentelemetry.sdk.trace import SpanProcessor

    class Relay(SpanProcessor):
        """Hands each finished span of the embedding program's provider to whoever takes them now."""

        def on_start(self, span: SdkSpan, parent_context: Context | None = None) -> None:
            """Nothing is known of a span before its end."""

        def on_end(self, span: ReadableSpan) -> None:
            if span.context and span.context.trace_flags.sampled:
                _hand_on(span)

        def shutdown(self) -> None:
            """The takers close themselves."""

        def force_flush(self, timeout_millis: int = 30_000) -> bool:
            return True

    return Relay()
