"""An open Atlas on an empty home, and clients on it without a process between."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.server.doors import ERAS, MODERN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def atlas() -> AsyncIterator[Atlas]:
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def client(atlas: Atlas) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio"), mode=ERAS[MODERN]) as connected:
        yield connected


@pytest.fixture(params=list(ERAS))
async def client_of_each_era(atlas: Atlas, request: pytest.FixtureRequest) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio"), mode=ERAS[request.param]) as connected:
        yield connected
