"""ATLAS over HTTP: Streamable HTTP at /mcp, SSE at /sse and /messages/, and /health, as one ASGI app.

/mcp and /sse need the home's bearer key and a Host (and Origin) of this machine; /health needs neither and says nothing
secret. The server listens on the loopback interface only. Connections come and go; the Atlas behind them is one.
"""

from __future__ import annotations

import errno
import ipaddress
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from atlas_mcp.errors import ConfigurationError, PortInUse
from atlas_mcp.server.app import create_server
from atlas_mcp.server.signals import stop_signal

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

    from starlette.requests import Request
    from starlette.routing import BaseRoute

    from atlas_mcp.atlas import Atlas

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
MAX_BODY_BYTES = 16 * 1024 * 1024
GRACE_SECONDS = 3
KEEP_ALIVE_SECONDS = 75  # longer than hosts pause between two calls: a connection closed under a call fails it
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


def create_app(atlas: Atlas, *, port: int) -> Starlette:
    """The whole HTTP surface over an open Atlas; `port` is where it will listen, for the Host and Origin checks."""
    server = create_server(atlas, transport="http")
    security = _security(port)
    streamable = server.streamable_http_app(transport_security=security, max_request_body_size=MAX_BODY_BYTES)
    sse = server.sse_app(transport_security=security, max_request_body_size=MAX_BODY_BYTES)

    async def health(_: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "version": atlas.version})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with server.session_manager.run():
            yield

    routes: list[BaseRoute] = [*streamable.routes, *sse.routes, Route("/health", health, methods=["GET"])]
    return Starlette(routes=routes, middleware=streamable.user_middleware, lifespan=lifespan)


def _security(port: int) -> TransportSecuritySettings:
    hosts = [f"{name}:{port}" for name in _LOOPBACK_NAMES]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=[f"http://{host}" for host in hosts])


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 takes a free one.

    Raises PortInUse, or ConfigurationError for a host that is not loopback or an address that cannot be had.
    """
    if not _is_loopback(host):
        raise ConfigurationError(
            f"{host!r} is not a loopback address, and this version listens on loopback only.",
            argument="--host",
            next_step="Use 127.0.0.1, ::1 or localhost; put a reverse proxy in front for other machines.",
        )
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=256)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(host, port) from None
        raise ConfigurationError(
            f"cannot listen on {host}:{port}: {error.strerror}.", argument="--port", next_step="Choose another port."
        ) from None
    except OverflowError:
        raise ConfigurationError(f"{port} is not a port.", argument="--port", next_step="Use 0 to 65535.") from None


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Server(uvicorn.Server):
    """uvicorn, which leaves the signals to us: its own way ends the process before Atlas is closed."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


async def serve_app(app: Starlette, listener: socket.socket) -> None:
    """Serve until SIGTERM or SIGINT; open calls get GRACE_SECONDS to end."""
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)

    async def stop() -> None:
        server.handle_exit(await stop_signal(), None)  # open streams end as well: sse-starlette listens here

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        await server.serve(sockets=[listener])
        group.cancel_scope.cancel()
