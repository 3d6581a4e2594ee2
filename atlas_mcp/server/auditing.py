"""What goes into the audit log of what clients ask: every tool call, every resource and prompt read, every request
about a task, every subscription as it begins, and every request over HTTP that was not let in.

Promise: of a call that changes or spends the entry is in the record before its answer is sent; of one that only reads
it follows within a second. An entry says how a call ended, so there is none of one whose process was killed in it; the
run's journal has what it did until then. Nothing a client sends keeps its entry from being written, and no failure of
the log reaches a client.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, cast

from mcp import MCPError

from atlas_mcp.server.caller import Transport, grant_of
from atlas_mcp.server.errors import REFUSALS, heard

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.audited import AuditOutcome

    Request = ServerRequestContext[Any, Any]

_CHANGING: Final = frozenset({"tasks/update", "tasks/cancel"})
_READING: Final = frozenset({"resources/read", "prompts/get", "tasks/get"})
_BEGINNING: Final = frozenset({"subscriptions/listen", "resources/subscribe"})
_AUDITED: Final = _CHANGING | _READING | _BEGINNING | {"tools/call"}
_TARGETS: Final = ("agent", "group", "team", "name", "label", "id", "run_id", "trace_id", "turn_id", "key", "project")
"""The arguments that name what something is done to. No other is ever recorded: it may be a text."""

_LONGEST: Final = 80
_NOT_LET_IN: Final = (401, 403)
_NOTED: Final = "atlas.refusals"
_CANCELLED: tuple[AuditOutcome, str] = ("cancelled", "")


class Auditor:
    """The middleware of one server; `reads` are the tools that change nothing."""

    def __init__(self, atlas: Atlas, transport: Transport, reads: Collection[str]) -> None:
        self._atlas = atlas
        self._transport: Transport = transport
        self._reads = frozenset(reads)

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Let the request go on, and record how it ended."""
        if ctx.method not in _AUDITED or ctx.request_id is None:
            return await call_next(ctx)
        begun = datetime.now(UTC)
        if ctx.method in _BEGINNING:  # it may last for days
            self._note(ctx, begun, None, ("done", ""))
            return await call_next(ctx)
        with heard() as failures:
            try:
                result = await call_next(ctx)
            except Exception as error:
                kind = failures[-1] if failures else f"error {error.code}" if isinstance(error, MCPError) else ""
                self._note(ctx, begun, None, (_outcome(kind), kind or type(error).__name__))
                raise
            except BaseException:
                self._note(ctx, begun, None, _CANCELLED)
                raise
        told = result if isinstance(result, dict) else {}
        kind = failures[-1] if failures else "UnknownTool"
        ended: tuple[AuditOutcome, str] = (_outcome(kind), kind) if told.get("isError") else ("done", "")
        if self._lasting(ctx):
            await self._atlas.audit.keep(self._entry(ctx, begun, told, ended))
        else:
            self._note(ctx, begun, told, ended)
        return result

    def _lasting(self, ctx: Request) -> bool:
        if ctx.method == "tools/call":
            return str((ctx.params or {}).get("name")) not in self._reads
        return ctx.method in _CHANGING

    def _note(
        self, ctx: Request, begun: datetime, told: dict[str, Any] | None, ended: tuple[AuditOutcome, str]
    ) -> None:
        self._atlas.audit.note(self._entry(ctx, begun, told, ended))

    def _entry(
        self, ctx: Request, begun: datetime, told: dict[str, Any] | None, ended: tuple[AuditOutcome, str]
    ) -> Any:
        grant = grant_of(self._atlas, self._transport, ctx)
        params = ctx.params or {}
        tool = ctx.method == "tools/call"
        return self._atlas.audit.entry(
            grant.caller,
            str(params.get("name")) if tool else ctx.method,
            _target_of_call(params.get("arguments"), told) if tool else _target(ctx.method, params),
            via=grant.via,
            address=_address(ctx),
            at=begun,
            outcome=ended[0],
            detail=ended[1],
        )


def _outcome(kind: str) -> AuditOutcome:
    return "refused" if kind in REFUSALS else "failed"


def _target_of_call(arguments: Any, told: dict[str, Any] | None) -> str:
    """What the call was about: the names and ids that it was given, and the run that came of it."""
    given: Mapping[str, Any] = cast("Mapping[str, Any]", arguments) if isinstance(arguments, Mapping) else {}
    named = {name: value for name in _TARGETS if isinstance(value := given.get(name), str) and value}
    answer: Any = (told or {}).get("structuredContent")
    run_id = (
        cast("Mapping[str, Any]", answer).get("run_id") if isinstance(answer, Mapping) else (told or {}).get("taskId")
    )
    if isinstance(run_id, str):
        named.setdefault("run_id", run_id)
    return " ".join(f"{name}={value[:_LONGEST]}" for name, value in named.items())


def _target(method: str, params: Mapping[str, Any]) -> str:
    if method == "subscriptions/listen":
        asked: Any = params.get("notifications")
        addresses: Any = (
            cast("Mapping[str, Any]", asked).get("resourceSubscriptions") if isinstance(asked, Mapping) else ()
        )
        listed = [str(one)[:_LONGEST] for one in cast("list[Any]", addresses)] if isinstance(addresses, list) else []
        return " ".join(listed[:8])
    return next((str(params[name])[:_LONGEST] for name in ("uri", "name", "taskId") if name in params), "")


def _address(ctx: Request) -> str:
    client = getattr(ctx.request, "client", None)
    return str(client.host) if client else ""


class RefusalsNoted:
    """The ASGI middleware that tells the audit log of requests that were not let in; of one that comes by another of
    this server's addresses, as the board's do, once."""

    def __init__(self, app: ASGIApp, atlas: Atlas) -> None:
        self._app = app
        self._atlas = atlas

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        if scope["type"] != "http" or _NOTED in scope:
            await self._app(scope, receive, send)
            return
        scope[_NOTED] = True

        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] in _NOT_LET_IN:
                client = scope.get("client")
                self._atlas.audit.refused(message["status"], str(client[0]) if client else "")
            await send(message)

        await self._app(scope, receive, sending)
