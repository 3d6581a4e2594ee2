"""ATLAS over HTTP: Streamable HTTP at /mcp, SSE at /sse and /messages/, and /health, as one ASGI app.

/mcp and /sse need a bearer token (the home's own key, a key that was made, or a login) and a Host (and Origin) of this
machine, or one that was allowed by name; /health needs neither and says nothing secret. The server listens on the
loopback interface only, unless hosts were allowed by name: in a container, or behind a proxy that speaks TLS.
Connections come and go; the Atlas behind them is one.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse
from starlette.routing import Route

from atlas_mcp.errors import ConfigurationError, PortInUse
from atlas_mcp.server.app import create_server
from atlas_mcp.server.arriving import ArrivingProtocol
from atlas_mcp.server.auditing import RefusalsNoted
from atlas_mcp.server.board.routes import board_routes
from atlas_mcp.server.guarding import Answers, Unknowing, login_routes, through_the_door
from atlas_mcp.server.signals import stopped

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator, Sequence

    from starlette.requests import Request
    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.server.app import Offer

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8765
MAX_BODY_BYTES = 16 * 1024 * 1024
GRACE_SECONDS = 3
KEEP_ALIVE_SECONDS = 75  # longer than hosts pause between two calls: a connection closed under a call fails it
_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
_HOST = re.compile(r"([A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_PORT = re.compile(r":[0-9]+$")


def create_app(
    atlas: Atlas, *, port: int, hosts: Sequence[str] = (), toolset: Offer = "core", conformance: bool = False
) -> Starlette:
    """The whole HTTP surface over an open Atlas; `port` is where it will listen, for the Host and Origin checks.

    `hosts` are names by which clients may come besides those of this machine and of the settings' public address:
    `name`, on any port, or `name:port`.
    `conformance` is as for `create_server`. Raises ConfigurationError for what is no such name.
    """
    server = create_server(atlas, transport="http", toolset=toolset, conformance=conformance)
    server.middleware.insert(0, through_the_door)
    rules, answers = atlas.access.login_rules, Answers(atlas)
    public = urlsplit(atlas.settings.public_url or "").netloc
    security = _security(port, [*hosts, public] if public else hosts)
    streamable = server.streamable_http_app(transport_security=security, max_request_body_size=MAX_BODY_BYTES)
    sse = server.sse_app(transport_security=security, max_request_body_size=MAX_BODY_BYTES)

    async def health(_: Request) -> JSONResponse:
        """503 once the server is being stopped, so that a balancer sends nobody here any more."""
        if atlas.draining:
            return JSONResponse({"status": "stopping", "version": atlas.version}, status_code=503)
        return JSONResponse({"status": "ok", "version": atlas.version})

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncGenerator[None]:
        async with server.session_manager.run(), answers.watched():
            yield

    own = [Route("/health", health, methods=["GET"]), *board_routes(atlas, security)]
    routes: list[BaseRoute] = [*login_routes(rules), *streamable.routes, *sse.routes, *own]
    guards = [Middleware(Unknowing), *streamable.user_middleware, Middleware(answers.guarding)]
    app = Starlette(routes=routes, middleware=guards, lifespan=lifespan)
    app.add_middleware(RefusalsNoted, atlas=atlas)
    app.state.end_streams = server.resources.end
    return app


def _security(port: int, more: Sequence[str]) -> TransportSecuritySettings:
    hosts = [f"{name}:{port}" for name in _LOOPBACK_NAMES]
    origins = [f"http://{host}" for host in hosts]
    for name in more:
        if not _HOST.fullmatch(name):
            raise ConfigurationError(
                f"{name!r} is not the name of a host.",
                argument="--allow-host",
                next_step="Give it as clients do, without http:// and path: atlas.example.com, or localhost:8080.",
            )
        named = [name] if _PORT.search(name) else [name, f"{name}:*"]
        hosts += named
        origins += [f"{scheme}://{one}" for scheme in ("http", "https") for one in named]
    return TransportSecuritySettings(allowed_hosts=hosts, allowed_origins=origins)


def listen(host: str, port: int, *, exposed: bool = False) -> socket.socket:
    """A socket that listens there; port 0 takes a free one. `exposed` says that other machines may reach it.

    Raises PortInUse, or ConfigurationError for a host that is not loopback unless that was said, or for an address that
    cannot be had.
    """
    if not exposed and not _is_loopback(host):
        raise ConfigurationError(
            f"{host!r} is not a loopback address: other machines could reach it.",
            argument="--host",
            next_step="Use 127.0.0.1, ::1 or localhost. If other machines are meant, put TLS in front, name each "
            "host that clients call it by (--allow-host atlas.example.com, or ATLAS_PUBLIC_URL), and give everybody a "
            "key of their own (atlas-mcp keys create NAME) or let them log in (ATLAS_OAUTH_ISSUER).",
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


def _told_of_the_end(app: ASGIApp) -> ASGIApp:
    """The app; a request that is cut off when the server ends hears why, if it was not being answered yet."""

    async def served(scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def sending(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await app(scope, receive, sending)
        except asyncio.CancelledError:  # only uvicorn does that, once GRACE_SECONDS are over; it logs what comes out
            if scope["type"] == "http" and not begun:
                await JSONResponse({"detail": "the server is being stopped"}, 503)(scope, receive, send)

    return served


async def serve_app(app: Starlette, listener: socket.socket, atlas: Atlas | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then `atlas` is drained, and open calls get GRACE_SECONDS to end."""
    config = uvicorn.Config(
        _told_of_the_end(app),
        http=ArrivingProtocol,  # on h11: httptools leaves the blanks around a header's value to us
        ws="none",
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)

    async def stop() -> None:
        number = await stopped(atlas)
        if atlas is not None:
            app.state.end_streams()
        server.handle_exit(number, None)  # streams of older clients end as well: sse-starlette listens here

    async with anyio.create_task_group() as group:
        group.start_soon(stop)
        await server.serve(sockets=[listener])
        group.cancel_scope.cancel()
