"""A constellation over the real embedded Letta, with a small model of our own that does what messages say."""

from __future__ import annotations

import json
import re
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import anyio
import httpx
import pytest
import uvicorn
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult

from atlas_mcp.constellation.constellation import Constellation
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.embedded import StreamingASGITransport, create_app, running
from atlas_mcp.letta.connect import open_in_process, open_server
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.turn import ToolSpec
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.constellation.toolbox import Toolbox
    from atlas_mcp.guard.entering import Entering
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.store.record import Record

_TOOL = re.compile(r"@tool (\w+) (\{.*\})")


@dataclass
class Script:
    """What the model has done, and what holds it back."""

    calls: int = 0
    seen: list[list[BaseMessage]] = field(default_factory=list)
    offered: list[list[str]] = field(default_factory=list)
    gate: anyio.Event | None = None
    at_gate: anyio.Event = field(default_factory=anyio.Event)
    failure: Exception | None = None


class ObedientModel(BaseChatModel):
    """Calls the tools a message names (`@tool NAME {json}`, one a line), then answers `ok: ` and the message."""

    script: Any

    @property
    def _llm_type(self) -> str:
        return "obedient"

    def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
        return self.bind(tools=[tool.name for tool in tools])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        raise AssertionError("only the asynchronous form is used")

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        script: Script = self.script
        script.calls += 1
        script.seen.append(list(messages))
        script.offered.append(kwargs.get("tools", []))
        if script.failure:
            raise script.failure
        if script.gate:
            script.at_gate.set()
            await script.gate.wait()
        return ChatResult(generations=[ChatGeneration(message=self._reply(messages))])

    def _reply(self, messages: list[BaseMessage]) -> AIMessage:
        asked = next(m for m in reversed(messages) if m.type == "human").text
        since: list[BaseMessage] = []
        for message in reversed(messages):
            if message.type == "human":
                break
            since.append(message)
        returns = [m.text for m in since if isinstance(m, ToolMessage)]
        wanted = _TOOL.findall(asked)
        usage: Any = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
        if len(returns) < len(wanted):
            name, arguments = wanted[len(returns)]
            call: Any = {"name": name, "args": json.loads(arguments), "id": f"call-{self.script.calls}"}
            return AIMessage(content="", tool_calls=[call], usage_metadata=usage)
        said = " | ".join(returns[::-1])
        return AIMessage(content=f"ok: {said or asked}", usage_metadata=usage)


class FakeModels:
    """One model for everybody; stands for the models room both to ATLAS and to the embedded Letta."""

    def __init__(self, script: Script, handle: str = "test/obedient") -> None:
        self.own = handle
        self._model = ObedientModel(script=script)

    def handle(self, tier: str, level: str, own: str | None = None) -> str:
        return own or self.own

    def handles(self) -> list[str]:
        return ["test/obedient", "test/other"]

    async def chat(self, handle: str) -> BaseChatModel:
        if handle not in self.handles():
            raise LookupError(f"no {handle}; there are {self.handles()}")
        return self._model

    def cost(self, handle: str, input_tokens: int, output_tokens: int) -> float | None:
        return 0.001 * (input_tokens + output_tokens)


class Echo:
    """A tool session with one tool, `echo`."""

    def __init__(self) -> None:
        self.turn = ToolTurn()
        self.called: list[dict[str, Any]] = []
        self.gate: anyio.Event | None = None
        self.at_gate = anyio.Event()

    @property
    def specs(self) -> list[ToolSpec]:
        schema = {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}
        return [ToolSpec(name="echo", description="Says it again.", parameters=schema)]

    def about(self, name: str) -> dict[str, Any]:
        return {}

    async def make(self, held: Any) -> str:
        raise AssertionError("nothing was held")

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        self.called.append(arguments)
        if self.gate:
            self.at_gate.set()
            await self.gate.wait()
        return f"echo {arguments['text']}"


class NoTools:
    """A toolbox with nothing in it."""

    available: frozenset[str] = frozenset()

    def session(self, agent: Any, run: Any, turn: Any = None) -> Any:
        return NoSession()

    def pure(self, agent: Any) -> tuple[()]:
        return ()

    def knowing(self, library: Any) -> NoTools:
        return self


class NoSession:
    specs: tuple[ToolSpec, ...] = ()
    turn = ToolTurn()

    def about(self, name: str) -> dict[str, Any]:
        return {}

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        raise AssertionError("no tool was offered")


class Wire(httpx.AsyncBaseTransport):
    """The way to the embedded Letta: counts what goes over it, and can be cut."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self.inner = inner
        self.requests: list[str] = []
        self.client_tools: list[list[str]] = []
        self.cut_after_events: int | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(f"{request.method} {request.url.path}")
        if request.url.path.endswith("/messages") and request.method == "POST":
            self.client_tools.append([tool["name"] for tool in json.loads(request.content)["client_tools"]])
        response = await self.inner.handle_async_request(request)
        if self.cut_after_events is not None and request.url.path.endswith("/messages") and request.method == "POST":
            whole = await response.aread()  # the server has finished; we never hear of it
            events = whole.split(b"\n\n")[: self.cut_after_events]
            return httpx.Response(200, headers=response.headers, stream=_Cut(b"".join(e + b"\n\n" for e in events)))
        return response

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(self, *failure: Any) -> None:  # noqa: PYI036 - passed on
        await self.inner.__aexit__(*failure)


class _Cut(httpx.AsyncByteStream):
    def __init__(self, data: bytes) -> None:
        self.data = data

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.data
        raise httpx.ReadError("the connection was cut")


@dataclass
class World:
    """One process on one home: a record, locks and an embedded Letta."""

    record: Record
    locks: Locks
    letta: Letta
    wire: Wire
    script: Script
    models: FakeModels
    roster: Roster
    toolbox: Any = field(default_factory=NoTools)
    entering: Entering | None = None

    def of(self, caller: str = "local:me", client: str = "", roster: Roster | None = None) -> Constellation:
        """A caller's constellation."""
        who = Caller(id=caller, client=client)
        of = roster or self.roster
        given = who, of, self.letta, self.record, self.locks, self.models, self.toolbox
        return Constellation(*given, entering=self.entering)


@asynccontextmanager
async def open_world(
    home: Path,
    script: Script | None = None,
    handle: str = "test/obedient",
    toolbox: Toolbox | None = None,
    *,
    takes_source: bool = True,
) -> AsyncIterator[World]:
    """A process on that home, with its embedded Letta inside, which runs the toolbox's sources if it takes any."""
    script = script or Script()
    where = open_home(home)
    locks, models = Locks(where.locks), FakeModels(script, handle)
    run_tool = toolbox.run if toolbox and takes_source else None
    app = create_app(where.letta, models, lock=locks.hold, run_tool=run_tool)
    async with AsyncExitStack() as stack:
        record = await stack.enter_async_context(open_record(where.path))
        await stack.enter_async_context(running(app))
        wire = Wire(StreamingASGITransport(app))
        letta = await stack.enter_async_context(open_in_process(wire))
        yield World(record, locks, letta, wire, script, models, load_roster(), toolbox or NoTools())


@asynccontextmanager
async def open_world_over_http(home: Path, key: str) -> AsyncIterator[World]:
    """A process on that home whose Letta is a server on a loopback port, which wants a key."""
    script = Script()
    where = open_home(home)
    locks, models = Locks(where.locks), FakeModels(script)
    app = create_app(where.letta, models, lock=locks.hold, key=key)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    listening = uvicorn.Config(app, port=0).bind_socket()
    address = "http://{}:{}".format(*listening.getsockname())
    async with AsyncExitStack() as stack:
        record = await stack.enter_async_context(open_record(where.path))
        tasks = await stack.enter_async_context(anyio.create_task_group())
        tasks.start_soon(server.serve, [listening])
        letta = await stack.enter_async_context(open_server(address, key=key))
        wire = Wire(httpx.AsyncHTTPTransport())
        yield World(record, locks, letta, wire, script, models, load_roster())
        server.should_exit = True


@pytest.fixture
async def world(home: Path) -> AsyncIterator[World]:
    async with open_world(home) as opened:
        yield opened


@pytest.fixture
def echo() -> Echo:
    return Echo()
