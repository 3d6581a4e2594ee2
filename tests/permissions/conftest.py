"""An Atlas whose agents can write on a board, with the tests' scripted model, and MCP clients on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from mcp.client import Client

from atlas_mcp.atlas import open_atlas
from atlas_mcp.server import create_server
from atlas_mcp.settings import load_settings
from tests.permissions.board import Board
from tests.server.doors import call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from tests.scripted_model import ScriptedModel

    Opened = Callable[..., AbstractAsyncContextManager[Client]]

SECONDS = 200
"""Within which what is waited for comes, also on a machine that is busy with much else: an end to waiting, no limit."""
ASKED = "Put it on the board."
NOTE = {"tool": "post_note", "args": {"text": "lunch at noon"}}


@pytest.fixture
def board() -> Iterator[Board]:
    with Board() as opened:
        yield opened


@pytest.fixture
def given(board: Board, scripted_model: ScriptedModel, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Board:
    """The settings of a home whose model is scripted and whose agents have the board's tool."""
    monkeypatch.setenv("ATLAS_MODEL", "openai:scripted-1")
    monkeypatch.setenv("OPENAI_API_KEY", "k")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)
    monkeypatch.setenv("ATLAS_TOOLS", str(board.tools(tmp_path / "tools")))
    scripted_model.on(ASKED, [NOTE, "I asked for leave."])
    return board


@pytest.fixture
def opened(given: Board) -> Opened:
    """A client on an Atlas of its own, with these permissions."""

    @asynccontextmanager
    async def opened(permissions: dict[str, Any] | None = None, toolset: str = "core") -> AsyncIterator[Client]:
        settings = load_settings()
        if permissions is not None:
            settings = settings.model_copy(
                update={"permissions": type(settings.permissions).model_validate(permissions)}
            )
        async with open_atlas(settings) as atlas, Client(server(atlas, toolset)) as client:
            yield client

    return opened


@pytest.fixture
async def client(opened: Opened) -> AsyncIterator[Client]:
    async with opened() as connected:
        yield connected


def server(atlas: Any, toolset: Any) -> Any:
    return create_server(atlas, transport="stdio", toolset=toolset)


async def chat(client: Client, message: str = ASKED, agent: str = "strategist") -> dict[str, Any]:
    """A chat in a conversation of its own; as the run that it became, where it only took longer than its call."""
    told = await call(client, "chat_with_agent", agent=agent, message=message, conversation="new")
    if told["status"] == "working":
        run = await until(client, told["run_id"], "awaiting_answer", "completed")
        return run if run["status"] == "completed" else told
    return told


async def held(client: Client, message: str = ASKED) -> dict[str, Any]:
    """The run of a chat in which a call was held, as it waits for its caller."""
    told = await chat(client, message)
    assert told["status"] == "working", told
    return await until(client, told["run_id"], "awaiting_answer")


async def answered(client: Client, run: dict[str, Any], answer: str) -> dict[str, Any]:
    """The run once it has ended by that answer."""
    await call(client, "answer_run", run_id=run["run_id"], answer=answer)
    return await until(client, run["run_id"], "completed")


async def until(client: Client, run_id: str, *statuses: str) -> dict[str, Any]:
    """The run, with all its events, once it has one of these statuses."""
    seen = 0
    with anyio.fail_after(SECONDS):
        while True:
            run = await call(client, "get_run", run_id=run_id, since=seen, wait_seconds=5)
            seen = run["events"][-1]["seq"] if run["events"] else seen
            if run["status"] in statuses:
                return await call(client, "get_run", run_id=run_id)
            going_on = run["status"] in {"queued", "working", "awaiting_answer"}
            assert going_on, [event["text"] for event in (await call(client, "get_run", run_id=run_id))["events"]]


def events(run: dict[str, Any], type: str) -> list[dict[str, Any]]:
    return [event for event in run["events"] if event["type"] == type]
