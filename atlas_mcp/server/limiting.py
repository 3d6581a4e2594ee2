"""The middleware that holds everybody who comes over HTTP to their limits.

A tool call beyond them is answered with an error that the model can read; any other request with one of the protocol,
whose data say after how many seconds to try again. Neither is a 429 of HTTP: clients take that for a broken connection,
and lose the session and the words.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, Final, cast

from atlas_mcp.errors import LimitReached, OverLimit
from atlas_mcp.server.caller import Transport, grant_of
from atlas_mcp.server.errors import protocol_refusal, refusal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.access import Limits

    Request = ServerRequestContext[Any, Any]

_TURNS: Final = frozenset({"chat_with_agent", "chat_with_group", "rate_text"})
_MESSAGES: Final = ("message", "goal")


class Limited:
    """The middleware of one server."""

    def __init__(self, atlas: Atlas, transport: Transport) -> None:
        self._atlas = atlas
        self._transport: Transport = transport

    async def __call__(self, ctx: Request, call_next: CallNext) -> HandlerResult:
        """Let the request go on if it is within the limits."""
        if ctx.request_id is None:  # a notification asks for nothing
            return await call_next(ctx)
        grant, limiter = grant_of(self._atlas, self._transport, ctx), self._atlas.access.limiter
        called = cast("Mapping[str, Any]", ctx.params or {}) if ctx.method == "tools/call" else None
        try:
            limiter.admit(grant)
            if called is not None:
                _check_sizes(grant.limits, called.get("arguments"))
            turn = limiter.turn(grant) if called is not None and called.get("name") in _TURNS else nullcontext()
            with turn:
                return await call_next(ctx)
        except LimitReached as error:
            if called is None:
                raise protocol_refusal(error, retryAfter=error.retry_after) from None
            return refusal(error)
        except OverLimit as error:
            return refusal(error)


def _check_sizes(limits: Limits, given: Any) -> None:
    if not isinstance(given, dict) or (limits.message_chars is None and limits.material_chars is None):
        return
    arguments = cast("dict[str, Any]", given)
    for most, texts in (
        (limits.message_chars, ((name, arguments.get(name)) for name in _MESSAGES)),
        (limits.material_chars, _materials(arguments)),
    ):
        for name, text in texts:
            if most is not None and isinstance(text, str) and len(text) > most:
                raise OverLimit(name, len(text), most)


def _materials(arguments: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    yield "text", arguments.get("text")
    materials: Any = arguments.get("materials")
    for number, one in enumerate(cast("list[Any]", materials) if isinstance(materials, list) else []):
        if isinstance(one, dict):
            yield f"materials.{number}.text", cast("dict[str, Any]", one).get("text")
