"""Spans of our own, behind OpenTelemetry's API: what a process records, and nothing else of the SDK's.

A span here costs its caller about a quarter of one of OpenTelemetry's SDK, which pays for processors, samplers,
resources and locks that nobody here needs, and is a quarter of a call's allowance. It is as readable as one of the
SDK's (`name`, `context`, `parent`, `attributes`, `events`, `links`, `status`, ...), and as strict: an ended span does
not change, OK is not taken back, an attribute is text, a number, a truth value or a list of these.

All spans of one trace in one process are timed by one clock that cannot be set: when the machine's clock jumps, they
keep their order and their durations, and only the next trace begins at the new time.

Noise is not recorded (see `NOISE`), nor is anything while nobody takes spans; a remote caller that does not sample does
not decide for us.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags

if TYPE_CHECKING:
    from collections.abc import Generator

    from opentelemetry.context import Context
    from opentelemetry.trace import Link

NOISE: Final = (
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

_MAX_ATTRIBUTES: Final = 128
_MAX_CHARACTERS: Final = 100_000
_MAX_EVENTS: Final = 64
_MAX_LINKS: Final = 16
_PLAIN: Final = (str, bool, int, float)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status()
_CANCELLED: Final = Status(StatusCode.ERROR, "cancelled")

_numbers: Final = random.Random()  # noqa: S311 - of our own: a seed of the program's would repeat ids
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_numbers.seed)


class Event(NamedTuple):
    """What happened at one moment of a span."""

    name: str
    timestamp: int
    attributes: Mapping[str, Any]


class Scope(NamedTuple):
    """Whose spans they are."""

    name: str


class Recorded(Span):
    """A span that is recorded. Ended, it is handed to whoever takes spans."""

    __slots__ = (
        "_ended",
        "_offset",
        "attributes",
        "context",
        "end_time",
        "events",
        "instrumentation_scope",
        "kind",
        "links",
        "name",
        "parent",
        "start_time",
        "status",
    )

    def __init__(
        self,
        name: str,
        context: SpanContext,
        parent: SpanContext | None,
        kind: SpanKind,
        scope: Scope,
        ended: Callable[[Recorded], None],
        offset: int,
    ) -> None:
        self.name = name
        self.context = context
        self.parent = parent
        self.kind = kind
        self.instrumentation_scope = scope
        self.attributes: dict[str, Any] = {}
        self.events: Sequence[Event] = ()
        self.links: Sequence[Link] = ()
        self.status = _UNSET
        self.end_time: int | None = None
        self._ended = ended
        self._offset = offset
        self.start_time = time.perf_counter_ns() + offset

    def get_span_context(self) -> SpanContext:
        """The ids by which others refer to it."""
        return self.context

    def now(self) -> int:
        """This moment by the clock of its trace, in nanoseconds since 1970."""
        return time.perf_counter_ns() + self._offset

    def is_recording(self) -> bool:
        """Whether it still goes on."""
        return self.end_time is None

    def end(self, end_time: int | None = None) -> None:
        """End it, once."""
        if self.end_time is None:
            self.end_time = time.perf_counter_ns() + self._offset if end_time is None else end_time
            self._ended(self)

    def set_attribute(self, key: str, value: Any) -> None:
        """Keep what fits an attribute; what does not is left out."""
        kept = self.attributes
        if self.end_time is None and (len(kept) < _MAX_ATTRIBUTES or key in kept):
            fitting = value if type(value) is str and len(value) <= _MAX_CHARACTERS else _fitting(value)
            if fitting is not None:
                kept[key] = fitting

    def set_attributes(self, attributes: Mapping[str, Any]) -> None:
        """As `set_attribute`, for several."""
        for key, value in attributes.items():
            self.set_attribute(key, value)

    def set_status(self, status: Status | StatusCode, description: str | None = None) -> None:
        """How it ended; OK stands, and unset changes nothing."""
        said = status if isinstance(status, Status) else Status(status, description)
        if (
            self.end_time is None
            and self.status.status_code is not StatusCode.OK
            and said.status_code is not StatusCode.UNSET
        ):
            self.status = said

    def update_name(self, name: str) -> None:
        """Call it otherwise."""
        if self.end_time is None:
            self.name = name

    def add_event(self, name: str, attributes: Mapping[str, Any] | None = None, timestamp: int | None = None) -> None:
        """Note a moment of it: the last 64 are kept."""
        if self.end_time is None:
            fitting = {key: kept for key, value in (attributes or {}).items() if (kept := _fitting(value)) is not None}
            at = time.perf_counter_ns() + self._offset if timestamp is None else timestamp
            self.events = (*self.events[1 - _MAX_EVENTS :], Event(name, at, fitting))

    def add_link(self, context: SpanContext, attributes: Mapping[str, Any] | None = None) -> None:
        """Refer to a span of another trace."""
        if self.end_time is None and context.is_valid:
            self.links = (*self.links, trace.Link(context, attributes))[:_MAX_LINKS]

    def record_exception(
        self,
        exception: BaseException,
        attributes: Mapping[str, Any] | None = None,
        timestamp: int | None = None,
        escaped: bool = False,
    ) -> None:
        """Note an exception as an event."""
        told = {
            "exception.type": type(exception).__qualname__,
            "exception.message": str(exception),
            "exception.stacktrace": "".join(traceback.format_exception(exception)),
            "exception.escaped": str(escaped),
        }
        self.add_event("exception", {**told, **(attributes or {})}, timestamp)

    def child(self, name: str, scope: Scope, kind: SpanKind = SpanKind.INTERNAL) -> Recorded:
        """A span below this one, by the same clock."""
        above = self.context
        own = SpanContext(above.trace_id, _span_id(), False, _SAMPLED)
        return Recorded(name, own, above, kind, scope, self._ended, self._offset)


class Tracer(trace.Tracer):
    """Begins the spans of one scope."""

    def __init__(self, scope: str, recorder: Recorder) -> None:
        self._scope = Scope(scope)
        self._recorder = recorder

    def start_span(
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Begin a span below the current one, or that of `context`."""
        above = trace.get_current_span(context)
        if type(above) is Recorded:
            began = above.child(name, self._scope, kind)
        else:
            began = self._recorder.begin(name, above.get_span_context(), kind, self._scope)
            if isinstance(began, NonRecordingSpan):
                return began
        if attributes:
            began.set_attributes(attributes)
        for link in links or ():
            began.add_link(link.context, link.attributes)
        if start_time is not None:
            began.start_time = start_time
        return began

    @contextmanager
    def start_as_current_span(  # pyright: ignore[reportIncompatibleMethodOverride]  # the API's own decorator is private
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Any = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Generator[Span]:
        """As `start_span`, as the current one while the body runs."""
        began = self.start_span(name, context, kind, attributes, links, start_time)
        with trace.use_span(began, end_on_exit, record_exception, set_status_on_exception) as current:
            try:
                yield current
            except (asyncio.CancelledError, GeneratorExit):
                began.set_status(_CANCELLED)
                raise


class Recorder(trace.TracerProvider):
    """Gives the tracers. `wanted` says whether anybody takes spans now; `ended` gets each that has ended."""

    def __init__(self, wanted: Callable[[], bool], ended: Callable[[Recorded], None]) -> None:
        self._wanted = wanted
        self._ended = ended

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> Tracer:
        """The tracer of that scope."""
        return Tracer(instrumenting_module_name, self)

    def begin(self, name: str, above: SpanContext, kind: SpanKind, scope: Scope) -> Recorded | NonRecordingSpan:
        """The first span of a trace in this process. What is below noise is not recorded either."""
        if not self._wanted():
            return NonRecordingSpan(above)
        if above.is_valid and not above.is_remote and not above.trace_flags.sampled:
            return NonRecordingSpan(above)
        if name.startswith(NOISE):
            return NonRecordingSpan(SpanContext(_trace_id(), _span_id(), False, TraceFlags(TraceFlags.DEFAULT)))
        inside = above.trace_id if above.is_valid else _trace_id()
        own = SpanContext(inside, _span_id(), False, _SAMPLED)
        offset = time.time_ns() - time.perf_counter_ns()
        return Recorded(name, own, above if above.is_valid else None, kind, scope, self._ended, offset)


def _trace_id() -> int:
    return int.from_bytes(os.urandom(16), "big") or 1  # the system's: callers name traces by it


def _span_id() -> int:
    return _numbers.getrandbits(64) or 1


def _fitting(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= _MAX_CHARACTERS else value[:_MAX_CHARACTERS]
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, list | tuple):
        return [one for one in map(_fitting, cast("Sequence[Any]", value)) if isinstance(one, _PLAIN)]
    return None
