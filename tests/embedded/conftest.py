"""An embedded Letta of each test's own, reached by the real letta-client through the in-process transport."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from letta_client import AsyncLetta

from atlas_mcp.embedded import StreamingASGITransport, create_app, running
from tests.embedded.scripted_chat import ScriptedChat, Source


@asynccontextmanager
async def open_letta(path: Path, source: Any, **options: Any) -> AsyncGenerator[Any]:
    """A client of an app of its own over the file at `path`."""
    app = create_app(path, source, **options)
    async with running(app), httpx.AsyncClient(transport=StreamingASGITransport(app)) as http:
        yield AsyncLetta(base_url="http://embedded", api_key="unused", max_retries=0, http_client=http)


async def say(letta: Any, agent_id: str, text: str, **options: Any) -> Any:
    """One blocking turn on the agent's own thread."""
    message = {"role": "user", "content": text} | ({"otid": options.pop("otid")} if "otid" in options else {})
    return await letta.agents.messages.create(agent_id, messages=[message], **options)


async def listed(letta: Any, agent_id: str) -> list[tuple[str, str]]:
    """The agent's own thread as (type, text), oldest first."""
    messages = [message async for message in letta.agents.messages.list(agent_id, order="asc")]
    return [(m.message_type, getattr(m, "content", None) or getattr(m, "tool_return", None) or "") for m in messages]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "letta.db"


@pytest.fixture
def chat() -> ScriptedChat:
    return ScriptedChat()


@pytest.fixture
async def letta(database: Path, chat: ScriptedChat) -> AsyncIterator[Any]:
    async with open_letta(database, Source(chat)) as client:
        yield client


@pytest.fixture
async def agent(letta: Any) -> Any:
    blocks = [{"label": "persona", "value": "I am Ada."}, {"label": "human", "value": "unknown", "limit": 40}]
    return await letta.agents.create(name="ada", model="test/scripted", memory_blocks=blocks)
