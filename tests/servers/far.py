"""Servers over HTTP in a thread: those of the SDK, and one that does what no server should."""

from __future__ import annotations

import gzip
import json
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import anyio
import uvicorn
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from starlette.applications import Starlette
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractContextManager

    from starlette.requests import Request
    from starlette.types import ASGIApp


def serving(app: ASGIApp, seen: list[dict[str, str]] | None = None) -> AbstractContextManager[str]:
    """The app on a port of loopback; its address. `seen` gets the headers of each request."""
    return serving_at(lambda _: app, seen)


@contextmanager
def serving_at(made: Callable[[str], ASGIApp], seen: list[dict[str, str]] | None = None) -> Iterator[str]:
    """As `serving`, of an app that has to know its address."""

    async def noting(scope: Any, receive: Any, send: Any) -> None:
        if seen is not None and scope["type"] == "http":
            seen.append({k.decode(): v.decode() for k, v in scope["headers"]})
        await app(scope, receive, send)

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(64)
        app = made(f"http://127.0.0.1:{listening.getsockname()[1]}")
        server = uvicorn.Server(uvicorn.Config(noting, log_level="critical", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


def tidy() -> MCPServer:
    """A server as it should be, with a tool that comes when it is called for."""
    server = MCPServer("tidy")

    @server.tool()
    async def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    def grown() -> str:
        """A tool that was not there at first."""
        return "grown"

    @server.tool()
    async def grow(ctx: Context[Any]) -> str:
        """Get one more tool."""
        server.add_tool(grown)
        await ctx.notify_tools_changed()
        await ctx.session.send_tool_list_changed()
        return "one more"

    @server.tool()
    async def steps(n: int, ctx: Context[Any]) -> str:
        """Tell of progress n times."""
        for i in range(n):
            await anyio.sleep(0.5)
            await ctx.report_progress(i, n)
        return "all steps"

    return server


def crooked() -> Starlette:
    """What it does at an address says the address: it speaks the handshake's protocol with answers of plain JSON."""
    return Starlette(routes=[Route("/{deed}", _deed, methods=["GET", "POST", "DELETE"])])


async def _deed(request: Request) -> Response:
    deed = request.path_params["deed"]
    if deed == "login":
        return Response(status_code=401)
    if deed == "away":
        return RedirectResponse("http://127.0.0.1:9/elsewhere", status_code=307)
    if request.method != "POST":
        return Response(status_code=405)
    message = json.loads(await request.body())
    method, request_id = message.get("method"), message.get("id")
    if method == "initialize":
        about = {
            "protocolVersion": "2025-06-18",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "x", "version": "1"},
        }
        return _result(request_id, about)
    if method == "tools/list":
        return _result(request_id, {"tools": [{"name": "act", "inputSchema": {"type": "object"}}]})
    if method == "tools/call":
        return _answered(deed, request_id)
    if request_id is None:
        return Response(status_code=202)
    return _json({"jsonrpc": "2.0", "id": request_id, "error": {"code": -32601, "message": "Method not found"}})


def _answered(deed: str, request_id: Any) -> Response:
    if deed == "broken":
        return Response('{"jsonrpc": "2.0", "id": ', media_type="application/json")
    if deed == "page":
        return Response("<html>Bad gateway</html>", status_code=502, media_type="text/html")
    if deed == "big":
        return StreamingResponse(_megabytes(50), media_type="application/json")
    if deed == "big-event":
        return StreamingResponse(_megabytes(50, b"data: "), media_type="text/event-stream")
    if deed == "bomb":
        packed = gzip.compress(b" " * 50_000_000)
        return Response(packed, media_type="application/json", headers={"content-encoding": "gzip"})
    return _result(request_id, {"content": [{"type": "text", "text": "well"}]})


async def _megabytes(number: int, begin: bytes = b"") -> AsyncIterator[bytes]:
    yield begin
    for _ in range(number):
        yield b"x" * 1_000_000


def _result(request_id: Any, result: dict[str, Any]) -> Response:
    return _json({"jsonrpc": "2.0", "id": request_id, "result": result})


def _json(value: Any) -> Response:
    return Response(json.dumps(value), media_type="application/json")
