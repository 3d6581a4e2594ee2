"""A finished span as one line of JSON, as the spool keeps it.

Spans of `spans` were bounded and redacted when their attributes were set. All others, such as the embedded Letta's and
those of libraries, are here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, cast

from atlas_mcp.watch.payload import clean, quoted, render

if TYPE_CHECKING:
    from atlas_mcp.watch._provider import Ended

OUR_SCOPE: Final = "atlas.watch"

_WHOLE: Final = ("mlflow.spanInputs", "mlflow.spanOutputs")
_to_json: Final = json.JSONEncoder(ensure_ascii=False, default=str).encode


def to_line(span: Ended) -> str:
    """One span as a line of JSON. Raises nothing that a span of OpenTelemetry's could cause."""
    scope = span.instrumentation_scope.name if span.instrumentation_scope else ""
    here, above, status = span.get_span_context(), span.parent, span.status
    name, said = span.name, status.description
    given: Mapping[str, Any] = span.attributes or {}
    events = [[e.name, e.timestamp, dict(e.attributes or {})] for e in span.events] if span.events else None
    links = [[f"{k.context.trace_id:032x}", f"{k.context.span_id:016x}"] for k in span.links] if span.links else None
    if scope != OUR_SCOPE:
        given = {clean(key, 200): _cleaned(key, value) for key, value in given.items()}
        name, said = clean(name), said and clean(said)
    attributes = ", ".join([f"{_key(key)}: {quoted(v) if type(v) is str else _to_json(v)}" for key, v in given.items()])
    parent = f'"{above.span_id:016x}"' if above else "null"
    # A span that ended without a word went well: MLflow's pages count an unset status as a failure.
    # Written by hand: a JSON encoder takes three times as long for what is nearly always the same.
    return (
        f'{{"trace": "{here.trace_id if here else 0:032x}", "span": "{here.span_id if here else 0:016x}"'
        f', "parent": {parent}'
        f', "name": {quoted(name)}, "kind": {span.kind.value}, "start": {_number(span.start_time)}'
        f', "end": {_number(span.end_time)}, "status": {status.status_code.value or 1}'
        f', "said": {quoted(said) if said is not None else "null"}, "scope": {_key(scope)}'
        f', "attributes": {{{attributes}}}, "events": {_to_json(_clean(events)) if events else "[]"}'
        f', "links": {_to_json(links) if links else "[]"}}}'
    )


def _number(value: int | None) -> str:
    return "null" if value is None else str(value)


@lru_cache(maxsize=512)
def _key(name: str) -> str:
    return quoted(name)


def _cleaned(key: str, value: Any) -> Any:
    """A foreign attribute. Whole inputs and outputs stay JSON: cut in the middle nobody could read them."""
    if key in _WHOLE and isinstance(value, str):
        try:
            return render(json.loads(value))
        except ValueError:
            return clean(value)
    return _clean(value)


def _clean(value: Any) -> Any:
    """Texts without what looks like a secret, and bounded."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Mapping):
        return {str(k): _clean(v) for k, v in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_clean(v) for v in cast("Sequence[Any]", value)]
    return value
