"""Doors for clients that take tasks, and one that does not, on the same Atlas; and a model that waits."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from mcp.client import Client

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.tasks.client import TakesTasks, nobody

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from atlas_mcp.server.caller import Transport
    from tests.scripted_model import ScriptedModel


@asynccontextmanager
async def taking_tasks(atlas: Atlas, transport: Transport = "stdio", **more: Any) -> AsyncIterator[Client]:
    """A client that takes tasks and can put forms to a person."""
    more = {"elicitation_callback": nobody, **more}
    async with Client(create_server(atlas, transport=transport), extensions=[TakesTasks()], **more) as client:
        yield client


@pytest.fixture
async def atlas() -> AsyncIterator[Atlas]:
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def client(atlas: Atlas) -> AsyncIterator[Client]:
    async with taking_tasks(atlas) as connected:
        yield connected


@pytest.fixture
async def plain(atlas: Atlas) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio")) as connected:
        yield connected


@pytest.fixture
def held_model(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> ScriptedModel:
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    return scripted_model
