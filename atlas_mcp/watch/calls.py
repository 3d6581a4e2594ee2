"""Every tool call of a client as one trace: the middleware that stands in the MCP server's first slot.

It replaces the SDK's own tracing (`server.middleware[0] = CallTracing(...)`), which would trace every ping, record
neither arguments nor results, and hang each call below a span of the client's that never reaches our MLflow. Here the
root is always ours, whatever the client sends; a client's `traceparent` becomes a link. A failing call is recorded as
failed, also when the tool answered with `isError`, and a cancelled one as cancelled. Other methods pass through.

Nothing is raised because of tracing. The call's errors pass through untouched, and so does its result, but that its
`_meta` names the trace.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, cast

from opentelemetry import trace
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from atlas_mcp.model.caller import hashed_caller
from atlas_mcp.watch.payload import clean
from atlas_mcp.watch.spans import Span, current_trace_id, failed, finish, outputs, start, tag, within

CallNext = Callable[[Any], Awaitable[Any]]

READS: Final = frozenset(
    {"get_agent_memory", "get_run", "get_status", "list_agents", "list_runs", "search_memory"},
)
"""The tools that change nothing: clients call them over and over, and their traces are to be told from the others."""

KIND_TAG: Final = "mlflow.traceTag.atlas.kind"
RUN_TAG: Final = "mlflow.traceTag.atlas.run"
TRACE_META: Final = "atlas-mcp/trace_id"
"""Where a result's `_meta` names the trace of its call."""

_NAMED: Final = ("agent", "group", "project", "label")
"""The arguments by which traces are told apart: attributes of the call's span, as `atlas.agent`."""

_NAME_LIMIT: Final = 100
_log = logging.getLogger(__name__)
_propagator = TraceContextTextMapPropagator()


class CallTracing:
    """The middleware. `caller` gives the id of who is asking, of which only a hash is recorded."""

    def __init__(self, caller: Callable[[Any], str | None] | None = None) -> None:
        self._caller = caller

    async def __call__(self, ctx: Any, call_next: CallNext) -> Any:
        """Trace the call in `ctx` if it is one of a tool."""
        if ctx.method != "tools/call":
            return await call_next(ctx)
        opened = self._start(ctx)
        with within(opened):
            try:
                result = await call_next(ctx)
            except BaseException as error:
                finish(opened, error)
                raise
            if opened.is_recording():
                _record(opened, result, self._caller and self._caller(ctx))
                _name_trace(result)
            finish(opened)
            return result

    def _start(self, ctx: Any) -> Span:
        try:
            params: Mapping[str, Any] = ctx.params or {}
            name = clean(str(params.get("name")), _NAME_LIMIT)
            arguments: Any = params.get("arguments") or {}
            attributes = {KIND_TAG: "read" if name in READS else "work", **self._attributes(ctx, arguments)}
            return start(name, "TOOL", arguments, attributes, links=_links(ctx), root=True)
        except Exception:  # noqa: BLE001 - whatever the client sent, its call must go on
            _log.debug("a call could not be traced", exc_info=True)
            return trace.INVALID_SPAN

    def _attributes(self, ctx: Any, arguments: Any) -> dict[str, object]:
        found: dict[str, object] = {"mcp.protocol.version": getattr(ctx, "protocol_version", None)}
        if self._caller and (caller := self._caller(ctx)):
            found["user.id"] = hashed_caller(caller)
        if client := _client_name(ctx):
            found["mlflow.traceTag.atlas.client"] = client
        given = cast("dict[str, Any]", arguments if isinstance(arguments, dict) else {})
        if isinstance(conversation := given.get("conversation"), str) and conversation != "new":
            found["session.id"] = conversation
        if isinstance(run_id := given.get("run_id"), str):
            found[RUN_TAG] = run_id
        for name in _NAMED:
            if isinstance(value := given.get(name), str):
                found[f"atlas.{name}"] = value
        return found


def _client_name(ctx: Any) -> str | None:
    parameters = getattr(getattr(ctx, "session", None), "client_params", None)
    name = getattr(getattr(parameters, "client_info", None), "name", None)
    return name if isinstance(name, str) else None


def _links(ctx: Any) -> list[trace.Link] | None:
    """A link to the client's own span, if it sent one that can be read."""
    meta: Any = getattr(ctx, "meta", None)
    sent = cast("Mapping[str, Any]", meta).get("traceparent") if isinstance(meta, Mapping) else None
    if not isinstance(sent, str):
        return None
    remote = trace.get_current_span(_propagator.extract({"traceparent": sent})).get_span_context()
    return [trace.Link(remote)] if remote.is_valid and remote.is_remote else None


def _record(opened: Span, result: Any, caller: str | None) -> None:
    try:
        answer = _answer(result)
        outputs(opened, _unnamed(answer, caller))
        if isinstance(answer, Mapping) and isinstance(run_id := cast("Mapping[str, Any]", answer).get("run_id"), str):
            tag(opened, "atlas.run", run_id)
        if _part(result, "is_error", "isError") is True:
            failed(opened, f"the tool answered with an error: {_text(result)}")
    except Exception:  # noqa: BLE001 - a result of an odd shape is still the client's
        _log.debug("a result could not be recorded", exc_info=True)


def _name_trace(result: Any) -> None:
    """Say in the result's `_meta` which trace is its call's, also where the result has no field for it."""
    try:
        told: dict[str, Any] = {**(_part(result, "meta", "_meta") or {}), TRACE_META: current_trace_id()}
        if isinstance(result, dict):
            cast("dict[str, Any]", result)["_meta"] = told
        else:
            result.meta = told
    except Exception:  # noqa: BLE001 - a result of an odd shape is still the client's
        _log.debug("a result could not name its trace", exc_info=True)


def _answer(result: Any) -> Any:
    """The structured part of a result, which says all that its text says; else its contents; else all of it."""
    for names in (("structured_content", "structuredContent"), ("content", "content")):
        part = _part(result, *names)
        if part is not None:
            return part
    return result


def _unnamed(answer: Any, caller: str | None) -> Any:
    """The answer with the caller's id, where it is a field of its own, as a hash."""
    if caller and isinstance(answer, Mapping):
        fields = cast("Mapping[str, Any]", answer)
        return {name: hashed_caller(caller) if value == caller else value for name, value in fields.items()}
    return answer


def _text(result: Any) -> str:
    content = _part(result, "content", "content")
    texts = (_part(item, "text", "text") for item in cast("Sequence[Any]", content or ()))
    return next((text for text in texts if isinstance(text, str)), "")


def _part(value: Any, attribute: str, key: str) -> Any:
    """A field of a result, which is a model inside the server and plain JSON on its way out."""
    return cast("Mapping[str, Any]", value).get(key) if isinstance(value, Mapping) else getattr(value, attribute, None)
