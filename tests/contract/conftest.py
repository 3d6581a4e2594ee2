"""The real Letta server of the session, and `house`: each test that asks for it runs on it and on the embedded Letta.

Both are asked by the same letta-client and answered for by the same kind of scripted model. The real server is started
once, when the first test needs it; what earlier tests made there is still there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from letta_client import AsyncLetta

from atlas_mcp.embedded import StreamingASGITransport, create_app, running
from atlas_mcp.letta.door import Letta
from atlas_mcp.letta.reading import TurnReader
from atlas_mcp.letta.thread import Thread, read_turn
from tests.contract.far_fixtures import _served, far, proxy, real, side  # noqa: F401  # fixtures
from tests.embedded.test_openai import OpenAISource
from tests.real_letta import RealLetta, installed
from tests.real_letta import real_letta as started
from tests.scripted_model import ScriptedModel

ECHO = {
    "name": "echo",
    "description": "Says it again.",
    "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


@dataclass
class House:
    """A Letta as plain letta-client sees it (`client`, which repeats nothing) and as ATLAS does (`door`)."""

    kind: Literal["embedded", "server"]
    client: AsyncLetta
    door: Letta
    scripted: ScriptedModel
    model: str
    embedding: str | None

    @property
    def real(self) -> bool:
        """Whether it is Letta's own server."""
        return self.kind == "server"

    async def agent(self, **more: Any) -> Any:
        """A new agent with a block."""
        fields: dict[str, Any] = {
            "name": "ada",
            "model": self.model,
            "system": "You are Ada.",
            "memory_blocks": [{"label": "human", "value": "likes tea", "limit": 60}],
            "include_base_tools": False,
        }
        if self.embedding:
            fields["embedding"] = self.embedding
        return await self.client.agents.create(**{**fields, **more})

    async def thread(self, agent: Any = None) -> str:
        """A new conversation, with a new agent unless one is given."""
        agent = agent or await self.agent()
        return (await self.client.conversations.create(agent_id=agent.id)).id

    async def send(self, thread: str, text: str, *, otid: str | None = None, tools: Any = ()) -> list[Any]:
        """The events of one turn, in the form in which ATLAS sends."""
        message: Any = {"type": "message", "role": "user", "content": text} | ({"otid": otid} if otid else {})
        return await self._events(thread, message, tools)

    async def give_back(self, thread: str, returns: dict[str, str], *, tools: Any = (ECHO,)) -> list[Any]:
        """The events of the turn as it goes on with these results of its tool calls."""
        told = [
            {"type": "tool", "tool_call_id": call, "tool_return": text, "status": "success"}
            for call, text in returns.items()
        ]
        return await self._events(thread, {"type": "tool_return", "tool_returns": told}, tools)

    async def _events(self, thread: str, message: Any, tools: Any) -> list[Any]:
        stream = await self.client.conversations.messages.create(
            thread, messages=[message], client_tools=list(tools), streaming=True, stream_tokens=False
        )
        async with stream:
            return [event async for event in stream]

    async def found(self, thread: str, otid: str) -> TurnReader | None:
        """What ATLAS reads of the turn with that otid; None if the thread has none."""
        return await read_turn(Thread(self.client, thread), otid)

    async def listed(self, thread: str, **more: Any) -> list[Any]:
        """The thread's messages, oldest first, without the system's own."""
        page = self.client.conversations.messages.list(thread, order="asc", **more)
        return [m async for m in page if m.message_type != "system_message"]


def of_type(events: list[Any], kind: str) -> list[Any]:
    """The events or messages of that type."""
    return [e for e in events if e.message_type == kind]


def said(events: list[Any]) -> str:
    """What the agent said in them."""
    return "".join(e.content for e in of_type(events, "assistant_message"))


@asynccontextmanager
async def embedded_house(path: Path, scripted: ScriptedModel) -> AsyncGenerator[House]:
    """An embedded Letta of the test's own."""
    app = create_app(path, OpenAISource(scripted.url))
    async with running(app), httpx.AsyncClient(transport=StreamingASGITransport(app), timeout=60) as http:
        client = AsyncLetta(base_url="http://embedded", api_key="unused", max_retries=0, http_client=http)
        yield House("embedded", client, Letta(client, kind="embedded"), scripted, "openai/scripted-1", None)


@asynccontextmanager
async def real_house(letta: RealLetta) -> AsyncGenerator[House]:
    """A client of the real server."""
    async with AsyncLetta(base_url=letta.url, api_key="unused", max_retries=0, timeout=60) as client:
        door = Letta(client, kind="server", name="real", embedding=letta.embedding)
        yield House("server", client, door, letta.scripted, letta.model, letta.embedding)


@pytest.fixture(scope="session")
def _real_letta() -> Iterator[RealLetta]:
    with started() as letta:
        yield letta


@pytest.fixture
def real_letta(_real_letta: RealLetta) -> RealLetta:
    """The real server, with nothing scripted."""
    _real_letta.scripted.reset()
    return _real_letta


@pytest.fixture(params=["embedded", "server"])
async def house(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[House]:
    """A Letta of each kind."""
    if request.param == "server":
        async with real_house(request.getfixturevalue("real_letta")) as real:
            yield real
        return
    with ScriptedModel() as scripted:
        async with embedded_house(tmp_path / "letta.db", scripted) as embedded:
            yield embedded


def pytest_collection_finish(session: pytest.Session) -> None:
    """Install the server before the first test: on a clean machine that takes longer than a test may."""
    here = Path(__file__).parent
    if not session.config.option.collectonly and any(item.path.is_relative_to(here) for item in session.items):
        installed()


@pytest.hookimpl(tryfirst=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """The first test of a session waits for the server to start, too."""
    if not item.get_closest_marker("timeout"):
        item.add_marker(pytest.mark.timeout(300))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failure on the real server shows what that server printed last."""
    report = yield
    letta = getattr(item, "funcargs", {}).get("_real_letta")
    if report.failed and letta is not None:
        report.sections.append(("Letta's log", letta.log_tail()))
    return report
