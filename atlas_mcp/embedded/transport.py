"""An httpx transport that calls an ASGI app in this process, piece by piece.

    async with httpx.AsyncClient(transport=StreamingASGITransport(app)) as http: ...

A response's pieces arrive as the app sends them, and a slow reader slows the app down. Closing a response, cancelling
the caller, a read timeout or leaving the client cancels the app's call and waits for its clean-up, so the next call
never races with the last one. The caller's context variables (its trace span) are the app's. An app that fails before
it answers gives a 500, one that fails later an httpx.RemoteProtocolError, as over a socket.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Self, cast

import anyio
import httpx
from anyio.abc import TaskGroup

log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
ASGIApp = Callable[
    [MutableMapping[str, Any], Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]
_BUFFERED = 16
CANCELS = "atlas.cancels"
"""The ASGI extension by which this transport tells an app that it cancels a call whose client goes away."""


class _Call:
    """One request: the app's side runs in a task, the client's side takes what it sends."""

    def __init__(self, app: ASGIApp, scope: dict[str, Any], body: bytes, timeout: float | None, grace: float) -> None:
        self._app, self._scope, self._timeout, self._grace = app, scope, timeout, grace
        self._body: bytes | None = body
        self._sent = deque[Message]()
        self._news, self._room = anyio.Event(), anyio.Event()
        self._gone, self._done = anyio.Event(), anyio.Event()
        self._running = anyio.CancelScope()
        self._complete = False
        self.failed = False

    async def run(self) -> None:
        try:
            with self._running:
                await self._app(self._scope, self._receive, self._send)
        except Exception:
            self.failed = True
            log.exception("%s %s failed in the app", self._scope["method"], self._scope["path"])
        finally:
            self._done.set()
            self._news.set()

    async def next(self) -> Message | None:
        """What the app sends next; None after its last piece."""
        if not self._sent and not self._complete and not self._done.is_set():
            self._news = anyio.Event()
            try:
                with anyio.fail_after(self._timeout):
                    await self._news.wait()
            except TimeoutError:
                raise httpx.ReadTimeout("The app in this process sent nothing in time") from None
        if self._sent:
            self._room.set()
            return self._sent.popleft()
        if self._complete:
            return None
        raise httpx.RemoteProtocolError("The app in this process ended without a complete response")

    async def stop(self) -> None:
        """The client wants no more. An unfinished call is cancelled and waited for; a complete one ends by itself."""
        self._gone.set()
        self._room.set()
        if self._complete or self._done.is_set():
            return
        self._running.cancel()
        with anyio.move_on_after(self._grace, shield=True):
            await self._done.wait()

    async def _receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        while len(self._sent) >= _BUFFERED and not self._gone.is_set():
            self._room = anyio.Event()
            await self._room.wait()
        if self._gone.is_set():
            raise OSError("The client has gone")
        self._sent.append(message)
        self._complete = message["type"] == "http.response.body" and not message.get("more_body")
        self._news.set()


class _Body(httpx.AsyncByteStream):
    def __init__(self, call: _Call) -> None:
        self._call = call

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            while (message := await self._call.next()) is not None:
                if chunk := message.get("body", b""):
                    yield chunk
        finally:
            await self._call.stop()

    async def aclose(self) -> None:
        await self._call.stop()


class StreamingASGITransport(httpx.AsyncBaseTransport):
    """Enter it, or the client that has it, with `async with`, and leave it in the same task: it owns the app's calls.

    `grace` is how many seconds a cancelled call may take to clean up before it is left behind.
    """

    def __init__(self, app: ASGIApp, *, grace: float = 5.0) -> None:
        self._app, self._grace = app, grace
        self._tasks: TaskGroup | None = None

    async def __aenter__(self) -> Self:
        self._tasks = await anyio.create_task_group().__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        tasks, self._tasks = self._tasks, None
        if tasks is not None:
            tasks.cancel_scope.cancel()
            await tasks.__aexit__(None, None, None)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._tasks is None:
            raise RuntimeError("Enter the httpx client (or this transport) with `async with` first")
        timeouts = cast("dict[str, float | None]", request.extensions.get("timeout") or {})
        call = _Call(self._app, _scope(request), await request.aread(), timeouts.get("read"), self._grace)
        self._tasks.start_soon(call.run)
        try:
            start = await call.next()
        except httpx.RemoteProtocolError:
            if not call.failed:
                raise
            return httpx.Response(500, json={"detail": "Internal Server Error"}, request=request)
        except BaseException:
            await call.stop()
            raise
        if start is None:
            raise httpx.RemoteProtocolError("The app in this process sent no response")
        return httpx.Response(start["status"], headers=start.get("headers", []), stream=_Body(call), request=request)


def _scope(request: httpx.Request) -> dict[str, Any]:
    url = request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.split(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "server": (url.host, url.port),
        "client": ("127.0.0.1", 0),
        "state": {},
        "extensions": {CANCELS: {}},
    }
