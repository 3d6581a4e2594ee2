"""An open Atlas on an empty home, with the tests' scripted model, and an MCP client on it without a process between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import TextContent

from atlas_mcp.atlas import Atlas, open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.scripted_model import Request, ScriptedModel


@pytest.fixture
async def atlas(scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Atlas]:
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    async with open_atlas(load_settings()) as opened:
        yield opened


@pytest.fixture
async def client(atlas: Atlas) -> AsyncIterator[Client]:
    async with Client(create_server(atlas, transport="stdio", toolset="admin")) as connected:
        yield connected


async def call(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """The structured result of a call that succeeds."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, _text(result)
    assert result.structured_content is not None
    return result.structured_content


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a call that is refused."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, _text(result)
    return _text(result)


def _text(result: Any) -> str:
    return "\n".join(part.text for part in result.content if isinstance(part, TextContent))


def agent_of(request: Request) -> str:
    """Whose turn a request to the model is, by its system prompt."""
    system = next(m["content"] for m in request["messages"] if m["role"] == "system")
    return str(system).split("You are ", 1)[1].split(":", 1)[0]


def speaks(model: ScriptedModel, agent: str, *replies: Any) -> None:
    """Whenever it is that agent's turn, it gives the next of these replies, and the last again and again."""
    left = list(replies)

    def next_reply(request: Request) -> Any:
        return left.pop(0) if len(left) > 1 else left[0]

    model.on(lambda request: agent_of(request) == agent, {"call": next_reply})


def who(reply: dict[str, Any]) -> list[str]:
    """Who spoke, in order."""
    return [m["speaker"] for m in reply["messages"]]


def texts(reply: dict[str, Any]) -> list[str]:
    """What was said, in order."""
    return [m["text"] for m in reply["messages"]]
