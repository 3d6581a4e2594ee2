"""A record whose facts are fed to a graph database over Bolt, and a wire between that can be slow, silent, or cut."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

import anyio
import pytest
from pydantic import SecretStr

from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.neo4j import mirror as mirrors
from atlas_mcp.memory.neo4j.opening import open_mirror
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.home import open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import Record, open_record
from tests.bolt import RunningBolt, session_bolt

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from anyio.abc import SocketStream

    from atlas_mcp.memory.edges import Edges
    from atlas_mcp.memory.neo4j.mirror import Mirror

ME = Caller(id="local:me")
PATIENCE = 60.0
_T = TypeVar("_T")


@pytest.fixture(scope="session")
def bolt() -> RunningBolt:
    return session_bolt()


@pytest.fixture
def graph(bolt: RunningBolt) -> str:
    """The name of an empty graph database."""
    return bolt.new_database()


@pytest.fixture
async def record(home: Path) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home) as opened:
        yield opened


@asynccontextmanager
async def mirrored(record: Record, home: Path, address: str) -> AsyncGenerator[Mirror]:
    """The record's mirror at that address, at work until the block is left."""
    async with anyio.create_task_group() as tasks:
        mirror = open_mirror(SecretStr(address), record, Locks(home / "locks"), tasks)
        assert mirror is not None
        yield mirror
        tasks.cancel_scope.cancel()


async def until(true: Callable[[], Awaitable[bool]], seconds: float = PATIENCE) -> None:
    """Wait until that is true."""
    with anyio.fail_after(seconds):
        while not await true():  # noqa: ASYNC110 - another process is waited for
            await anyio.sleep(0.02)


async def until_told(mirror: Mirror) -> None:
    """Wait until the graph database has all that the record has, and walks."""

    async def nothing(_: Edges) -> bool:
        return True

    async def walks() -> bool:
        return bool(await mirror.walk(nothing))

    await until(walks)


class Counting:
    """A mirror that counts the walks it was asked for, and those that it went."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self.asked = 0
        self.went = 0

    async def walk(self, way: Callable[[Edges], Awaitable[_T]]) -> _T | None:
        self.asked += 1
        found = await self._mirror.walk(way)
        self.went += found is not None
        return found


def facts_over(record: Record, mirror: Mirror) -> tuple[Facts, Counting]:
    counting = Counting(mirror)
    return Facts(ME, record, walker=counting), counting


class Between:
    """A wire to the server that can be slow, silent (it takes everything and gives nothing), or cut."""

    def __init__(self, server: int) -> None:
        self._server = server
        self.port = 0
        self.ready = anyio.Event()
        self.how: Literal["open", "slow", "silent", "cut"] = "open"
        self._wires: set[SocketStream] = set()

    async def serve(self) -> None:
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
        self.port = listener.extra(anyio.abc.SocketAttribute.local_port)
        self.ready.set()
        await listener.serve(self._carry)

    async def cut(self) -> None:
        """Cut all wires, and take no new ones."""
        self.how = "cut"
        for wire in [*self._wires]:
            await wire.aclose()

    async def _carry(self, near: SocketStream) -> None:
        async with near:
            if self.how == "cut":
                return
            async with await anyio.connect_tcp("127.0.0.1", self._server) as far:
                self._wires |= {near, far}
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._pass_on, near, far, tasks.cancel_scope)
                    tasks.start_soon(self._pass_on, far, near, tasks.cancel_scope)
                self._wires -= {near, far}

    async def _pass_on(self, source: SocketStream, to: SocketStream, scope: anyio.CancelScope) -> None:
        try:
            while True:
                data = await source.receive()
                if self.how == "slow":
                    await anyio.sleep(0.8)
                if self.how != "silent":
                    await to.send(data)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError):
            scope.cancel()


@pytest.fixture
async def between(bolt: RunningBolt) -> AsyncIterator[Between]:
    wire = Between(bolt.port)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(wire.serve)
        await wire.ready.wait()
        yield wire
        tasks.cancel_scope.cancel()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look after the graph database more often."""
    monkeypatch.setattr(mirrors, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(mirrors, "WHOLE_SECONDS", 0.1)
