"""From spool files to OpenTelemetry's protocol, for the process that carries traces."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.watch.spool import Batch

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan


def to_request(batches: Iterable[Batch]) -> ExportTraceServiceRequest:
    """The batches as one export request. Raises ValueError, TypeError or KeyError for a span that is none."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    return ExportTraceServiceRequest(resource_spans=[_resource_spans(batch) for batch in batches])


def _resource_spans(batch: Batch) -> ResourceSpans:
    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

    scopes: dict[str, list[ProtoSpan]] = {}
    for row in batch.spans:
        scopes.setdefault(str(row["scope"]), []).append(_span(row))
    return ResourceSpans(
        resource=Resource(attributes=_pairs(batch.resource)),
        scope_spans=[ScopeSpans(scope=InstrumentationScope(name=name), spans=spans) for name, spans in scopes.items()],
    )


def _span(row: Mapping[str, Any]) -> ProtoSpan:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span as ProtoSpan
    from opentelemetry.proto.trace.v1.trace_pb2 import Status

    return ProtoSpan(
        trace_id=bytes.fromhex(row["trace"]),
        span_id=bytes.fromhex(row["span"]),
        parent_span_id=bytes.fromhex(row["parent"] or ""),
        name=row["name"],
        kind=row["kind"] + 1,  # the protocol counts from 1
        start_time_unix_nano=row["start"] or 0,
        end_time_unix_nano=row["end"] or 0,
        status=Status(code=row["status"], message=row["said"] or ""),
        attributes=_pairs(row["attributes"]),
        events=[
            ProtoSpan.Event(name=name, time_unix_nano=at, attributes=_pairs(more)) for name, at, more in row["events"]
        ],
        links=[ProtoSpan.Link(trace_id=bytes.fromhex(t), span_id=bytes.fromhex(s)) for t, s in row["links"]],
    )


def _pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    from opentelemetry.proto.common.v1.common_pb2 import KeyValue

    return [KeyValue(key=key, value=_value(value)) for key, value in attributes.items() if value is not None]


def _value(value: Any) -> AnyValue:
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue

    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return AnyValue(int_value=value)
    if isinstance(value, float):
        return AnyValue(double_value=value)
    if isinstance(value, list):
        return AnyValue(array_value=ArrayValue(values=[_value(item) for item in cast("Sequence[Any]", value)]))
    return AnyValue(string_value=value if isinstance(value, str) else str(value))
