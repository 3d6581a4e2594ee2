"""A server with slow agents, and a real browser that looks at it; and the server's whole surface without a process."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx2
import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_app
from atlas_mcp.settings import load_settings
from tests.board.browser import Board, Browser, open_browser
from tests.board.host import bundled
from tests.server.doors import http_server

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from atlas_mcp.atlas import Atlas

    Opened = AbstractAsyncContextManager[tuple[Atlas, httpx2.AsyncClient]]

PORT = 8765


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"  # as for all tests, and for as long as the browser lives


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    home = tmp_path_factory.mktemp("board") / "home"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATLAS_HOME", str(home))
        patch.setenv("ATLAS_OFFLINE_DELAY", "0.8")  # so long that a busy browser sees an agent at work, too
        with http_server() as (address, key, _):
            yield Board(address, key, home)


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The protocol's own bridge between a host and a page, for the browser."""
    return bundled(tmp_path_factory.mktemp("bridge"))


@asynccontextmanager
async def surface(home: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Atlas, httpx2.AsyncClient]]:
    """The HTTP surface on that home, and a client without cookies."""
    monkeypatch.setenv("ATLAS_HOME", str(home))
    async with open_atlas(load_settings()) as atlas:
        app = create_app(atlas, port=PORT)
        async with (
            app.router.lifespan_context(app),
            httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url=f"http://127.0.0.1:{PORT}") as http,
        ):
            yield atlas, http


@pytest.fixture
def opened(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> AbstractAsyncContextManager[tuple[Atlas, httpx2.AsyncClient]]:
    return surface(home, monkeypatch)
