"""One web, one record and one door for all tests of a file: each test has paths, names and a caller of its own."""

from __future__ import annotations

import itertools
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

import pytest

from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.context import CallContext
from atlas_mcp.reach.web.page import Page
from atlas_mcp.reach.web.web import Web, WebDoor
from atlas_mcp.store.record import Record, open_record
from tests.web.site import Site

_numbers = itertools.count()


@dataclass
class Agent:
    """An agent of a caller of its own, what its door to the web gave it, and what was told of that."""

    web: Web
    caller: str = field(default_factory=lambda: f"local:{next(_numbers)}")
    found: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def door(self) -> WebDoor:
        async def found(name: str, text: str, *, title: str = "") -> None:
            self.found.append((name, text, title))

        async def spent(service: str, usd: float) -> None:
            raise AssertionError("reading pages costs nothing")

        return self.web(CallContext(Caller(id=self.caller), "web_researcher", None, found, spent))

    async def fetch(self, address: str) -> Page:
        return await self.door.fetch(address)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Of the whole session here, so that what is slow to open can be opened once a file."""
    return "asyncio"


@pytest.fixture(scope="module")
async def site() -> AsyncGenerator[Site]:
    async with Site() as made:
        yield made


@pytest.fixture(scope="module")
async def record(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Record]:
    async with open_record(tmp_path_factory.mktemp("record")) as opened:
        yield opened


@pytest.fixture(scope="module")
async def web(site: Site, record: Record) -> AsyncGenerator[Web]:
    """The web; of private hosts only the site's own port is allowed."""
    async with Web(record, (f"127.0.0.1:{site.port}",), site.network).opened() as opened:
        yield opened


@pytest.fixture
def agent(web: Web) -> Agent:
    return Agent(web)
