"""ATLAS and other ASGI apps on loopback ports of this very process, and clients with tokens on them."""

from __future__ import annotations

import socket
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio
import uvicorn

from atlas_mcp.atlas import open_atlas
from atlas_mcp.home_care import open_keys
from atlas_mcp.server import create_app
from atlas_mcp.settings import load_settings
from tests.server.doors import MODERN, over_http

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterator
    from contextlib import AbstractAsyncContextManager

    from mcp.client import Client
    from starlette.types import ASGIApp

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.model.access import Scope

ALL: tuple[Scope, ...] = ("read", "chat", "write", "admin")


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def free_socket() -> socket.socket:
    """A listening socket on loopback: who connects before it is served waits."""
    return socket.create_server(("127.0.0.1", 0), backlog=256)


@asynccontextmanager
async def served(app: ASGIApp, listener: socket.socket) -> AsyncIterator[str]:
    """The app's address, until the block is left."""
    config = uvicorn.Config(app, log_config=None, ws="none", http="h11", timeout_graceful_shutdown=1)
    server = _Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True


@dataclass(frozen=True)
class House:
    """An open ATLAS, served."""

    atlas: Atlas
    address: str

    def client(self, token: str, *, era: str = MODERN, path: str = "/mcp") -> AbstractAsyncContextManager[Client]:
        """A client that sends that token."""
        return over_http(self.address, token, path, era)


@asynccontextmanager
async def open_house(toolset: str = "all", listener: socket.socket | None = None) -> AsyncIterator[House]:
    """ATLAS with these settings on a port of its own."""
    listener = listener or free_socket()
    async with open_atlas(load_settings()) as atlas:
        app = create_app(atlas, port=listener.getsockname()[1], toolset=toolset)  # type: ignore[arg-type]
        async with served(app, listener) as address:
            yield House(atlas, address)


async def make_key(name: str, scopes: Collection[Scope] = ALL, **more: object) -> str:
    """A key, made as the command line makes it, beside the server."""
    async with open_keys(load_settings()) as keys:
        return (await keys.create(name, scopes=scopes, **more)).token  # type: ignore[arg-type]


async def revoke(name: str) -> None:
    """Revoke it, as the command line does."""
    async with open_keys(load_settings()) as keys:
        await keys.revoke(name)
