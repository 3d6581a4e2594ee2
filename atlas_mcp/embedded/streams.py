"""The response to a request for a turn: server-sent events, or one JSON object when it is done.

The turn runs inside its response. A caller who goes away cancels it, which frees the thread and keeps nothing. A
refusal before the first event is an ordinary error response; after it, an `event: error` that letta-client raises.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from atlas_mcp.embedded.asks import Ask
from atlas_mcp.embedded.faults import CallerGone, Fault
from atlas_mcp.embedded.services import Services
from atlas_mcp.embedded.transport import CANCELS
from atlas_mcp.embedded.turns import Reply, ping, take_turn

log = logging.getLogger(__name__)
_PING_SECONDS = 20.0
_INTERNAL = {"detail": "Internal Server Error"}


class TurnResponse(Response):
    """Runs the turn of `ask` when the server sends it. `wanted` None means messages of every type."""

    def __init__(self, services: Services, ask: Ask, *, stream: bool, wanted: list[str] | None, pings: bool) -> None:
        super().__init__()
        self._services, self._ask, self._stream, self._pings = services, ask, stream, pings
        self._wanted = None if wanted is None else {*wanted, "ping"}
        self._messages: list[dict[str, Any]] = []
        self._began = self._ended = False
        self._turn = anyio.Lock(fast_acquire=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not self._stream and CANCELS in scope.get("extensions", ()):  # nothing to watch for, no task needed
            await self._answer(scope, receive, send)
            return
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_cancel_when_gone, receive, tasks.cancel_scope)
            if self._stream and self._pings:
                tasks.start_soon(self._keep_alive, send)
            await self._answer(scope, receive, send)
            tasks.cancel_scope.cancel()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def emit(message: dict[str, Any]) -> None:
            await (self._emit(send, message) if self._stream else self._collect(message))

        try:
            reply = await take_turn(self._services, self._ask, emit)
        except Fault as error:
            await self._refuse(scope, receive, send, error.status, error.body())
        except (CallerGone, OSError):
            log.info("The caller of run %s went away", self._ask.run_id)
        except Exception:
            log.exception("The run %s failed", self._ask.run_id)
            await self._refuse(scope, receive, send, 500, _INTERNAL)
        else:
            await self._close(scope, receive, send, reply)

    async def _close(self, scope: Scope, receive: Receive, send: Send, reply: Reply) -> None:
        stop = {"message_type": "stop_reason", "stop_reason": reply.stop_reason}
        used = reply.usage.wire()
        if not self._stream:
            body = {"messages": self._messages, "stop_reason": stop, "usage": used, "logprobs": None, "turns": None}
            await JSONResponse(body)(scope, receive, send)
            return
        for event in (stop, used):
            await self._emit(send, event)
        await self._end(send, b"data: [DONE]\n\n")

    async def _refuse(self, scope: Scope, receive: Receive, send: Send, status: int, body: dict[str, Any]) -> None:
        if not self._began:
            await JSONResponse(body, status)(scope, receive, send)
            return
        await self._end(send, f"event: error\ndata: {json.dumps(body)}\n\n".encode())

    async def _end(self, send: Send, last: bytes) -> None:
        async with self._turn:
            self._ended = True
            await send({"type": "http.response.body", "body": last, "more_body": False})

    async def _collect(self, message: dict[str, Any]) -> None:
        kind = message["message_type"]
        if kind != "ping" and (self._wanted is None or kind in self._wanted):
            self._messages.append(message)

    async def _emit(self, send: Send, message: dict[str, Any]) -> None:
        kind = message["message_type"]
        if self._wanted is not None and kind.endswith("_message") and kind not in self._wanted:
            return
        async with self._turn:
            if self._ended:
                return
            if not self._began:
                self._began = True
                headers = [(b"content-type", b"text/event-stream; charset=utf-8"), (b"cache-control", b"no-cache")]
                await send({"type": "http.response.start", "status": 200, "headers": headers})
            data = f"data: {json.dumps(message, ensure_ascii=False)}\n\n".encode()
            await send({"type": "http.response.body", "body": data, "more_body": True})

    async def _keep_alive(self, send: Send) -> None:
        while True:
            await anyio.sleep(_PING_SECONDS)
            await self._emit(send, ping(self._ask.run_id))


async def _cancel_when_gone(receive: Callable[[], Awaitable[Any]], scope: anyio.CancelScope) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    scope.cancel()
