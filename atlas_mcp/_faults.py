"""Faults put into a home that is otherwise real: tools that fail, and a connection to Letta that drops.

Those of models are put into their script: see `in_script`.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Self, cast

import httpx

from atlas_mcp._keeper import RoomsKeeper
from atlas_mcp.constellation.toolbox import Toolbox
from atlas_mcp.errors import ToolFailed
from atlas_mcp.model.scenario import IN_MODEL
from atlas_mcp.model.script import Reply, Rule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from types import TracebackType

    from atlas_mcp.constellation.run_files import RunFiles
    from atlas_mcp.constellation.tool_session import ToolSession
    from atlas_mcp.constellation.tool_turn import ToolTurn
    from atlas_mcp.embedded.transport import ASGIApp
    from atlas_mcp.model.agent import AgentSpec
    from atlas_mcp.model.scenario import Fault
    from atlas_mcp.settings import Settings

_UNUSABLE = "I would rather tell you about the weather."


def in_script(faults: Sequence[Fault]) -> list[Rule]:
    """The faults of the model, as rules of a script."""
    return [
        Rule(
            agent=fault.agent,
            part=fault.part,
            replies=(_reply(fault),) * (1 if fault.times == "always" else fault.times),
            always=fault.times == "always",
        )
        for fault in faults
        if fault.of_model
    ]


class FaultyKeeper(RoomsKeeper):
    """A keeper whose tools fail and whose connection to Letta drops, as often as these faults say."""

    def __init__(self, settings: Settings, faults: Sequence[Fault]) -> None:
        super().__init__(settings)
        if of_tools := [fault for fault in faults if fault.kind == "tool"]:
            self.toolbox = _FailingToolbox(self.toolbox, of_tools)
        self._drops = [fault for fault in faults if fault.kind == "letta"]

    def transport(self, app: ASGIApp) -> httpx.AsyncBaseTransport:
        """The way to the embedded Letta, which drops."""
        way = super().transport(app)
        return _Dropping(way, self._drops) if self._drops else way


class _FailingToolbox(Toolbox):
    """The same tools, of which some fail."""

    def __init__(self, tools: Toolbox, faults: Sequence[Fault]) -> None:
        self.__dict__.update(tools.__dict__)
        self._left = Counter({n: _times(fault) for n, fault in enumerate(faults)})
        self._faults = tuple(faults)

    def session(self, agent: AgentSpec, run: RunFiles | None, turn: ToolTurn | None = None) -> ToolSession:
        """The tools that this agent may use in one turn."""
        return cast("ToolSession", _FailingSession(super().session(agent, run, turn), agent.name, self))

    def fails(self, agent: str, tool: str) -> bool:
        """Whether this call fails; each fault counts those that it has made fail."""
        for number, fault in enumerate(self._faults):
            if fault.tool == tool and fault.agent in {None, agent} and self._left[number] > 0:
                self._left[number] -= 1
                return True
        return False


class _FailingSession:
    """A session that is the one it stands for, but for the calls that fail."""

    def __init__(self, session: ToolSession, agent: str, tools: _FailingToolbox) -> None:
        self._session = session
        self._agent = agent
        self._failing = tools

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    async def call(self, name: str, arguments: Mapping[str, Any]) -> str:
        if self._failing.fails(self._agent, name):
            raise ToolFailed(f"{name} failed: the scenario says so.")
        return await self._session.call(name, arguments)


class _Dropping(httpx.AsyncBaseTransport):
    """A way to Letta on which the answer to a message breaks off after its first words."""

    def __init__(self, way: httpx.AsyncBaseTransport, faults: Sequence[Fault]) -> None:
        self._way = way
        self._left = sum(_times(fault) for fault in faults)

    async def __aenter__(self) -> Self:
        await self._way.__aenter__()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None = None,
        exc_value: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        await self._way.__aexit__(exc_type, exc_value, traceback)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._way.handle_async_request(request)
        if request.method == "POST" and request.url.path.rstrip("/").endswith("/messages") and self._left > 0:
            self._left -= 1
            stream = cast("httpx.AsyncByteStream", response.stream)
            return httpx.Response(response.status_code, headers=response.headers, stream=_Broken(stream))
        return response


class _Broken(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for words in self._stream:
            yield words
            break
        raise httpx.ReadError("the connection dropped: the scenario says so")

    async def aclose(self) -> None:
        await self._stream.aclose()


def _reply(fault: Fault) -> Reply:
    if fault.kind == "unusable":
        return Reply(text=_UNUSABLE)
    if fault.kind == "slow":
        return Reply(seconds=fault.seconds)
    return Reply(error=IN_MODEL[fault.kind])


def _times(fault: Fault) -> int:
    return 1_000_000 if fault.times == "always" else fault.times
