"""A proxy between ATLAS and a Letta that fails as a test tells it: cuts, delays, refuses, answers itself, hangs.

    async with proxy_to(letta_url) as proxy:
        proxy.fail(SEND, Cut(after_events=1))       # the next request that SEND matches meets this, and only that one
        ... ATLAS works with proxy.url ...
        proxy.requests                              # each request as "METHOD /path", in order
        await proxy.met.wait()                      # until a fault was met
    await proxy.until("GET /messages", 2)       # until so many such requests came

Every request has a connection of its own on both sides, so a cut is one request's and nobody else's. A cut closes both
sides at once, as a router that dies does.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import anyio
import anyio.abc
from anyio.streams.buffered import BufferedByteReceiveStream

HEAD = 65_536
SEND = "POST /messages"
GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, anyio.IncompleteRead, OSError)


@dataclass(frozen=True)
class Cut:
    """Cut the connection: before the server gets the request, after it was sent, or after some events of the answer."""

    before_it_is_sent: bool = False
    after_events: int = 0


@dataclass(frozen=True)
class HeldUp:
    """Cut the client off, and give the server the request only when the test sets `deliver`: a slow way, not a cut."""

    deliver: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True)
class Says:
    """Answer in the server's place; the server never hears of the request."""

    status: int = 200
    body: str = '{"detail": "not now"}'
    kind: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Hangs:
    """Say nothing for as long as the client waits; the server gets the request if `delivered`."""

    delivered: bool = False


@dataclass(frozen=True)
class Waits:
    """Let the request through once the test sets `go`; `there` is set when it has arrived."""

    go: anyio.Event = field(default_factory=anyio.Event)
    there: anyio.Event = field(default_factory=anyio.Event)


Fault = Cut | HeldUp | Says | Hangs | Waits
Match = str | Callable[[str, bytes], bool]


@dataclass
class _Rule:
    match: Match
    fault: Fault
    times: int | None

    def meets(self, line: str, body: bytes) -> bool:
        if self.times == 0:
            return False
        if callable(self.match):
            return self.match(line, body)
        method, _, path = self.match.partition(" ")
        return line.startswith(f"{method} ") and line.partition("?")[0].endswith(path)


class Proxy:
    """What a test has in hand; made by `proxy_to`."""

    def __init__(self, target: str, tasks: anyio.abc.TaskGroup) -> None:
        parts = urlsplit(target)
        self._target = (parts.hostname or "127.0.0.1", parts.port or 80)
        self._tasks = tasks
        self._port = 0
        self._rules: list[_Rule] = []
        self._listening: anyio.CancelScope | None = None
        self.requests: list[str] = []
        self.bodies: list[bytes] = []
        self.met = anyio.Event()
        self._news = anyio.Event()

    @property
    def url(self) -> str:
        """What to set as LETTA_BASE_URL."""
        return f"http://127.0.0.1:{self._port}"

    def fail(self, match: Match, fault: Fault, *, times: int | None = 1) -> None:
        """Let the next `times` requests that match meet the fault; None: all of them, until `heal`."""
        self.met = anyio.Event()
        self._rules.append(_Rule(match, fault, times))

    def heal(self) -> None:
        """Let everything through again."""
        self._rules.clear()

    def sent(self, match: str = SEND) -> int:
        """How many requests came that match."""
        return sum(_Rule(match, Cut(), None).meets(line, b"") for line in self.requests)

    async def until(self, match: str, count: int = 1, *, since: int = 0) -> None:
        """Wait until `count` requests that match came after the first `since` of them."""
        with anyio.fail_after(90):
            while self.sent(match) < since + count:
                await self._news.wait()

    async def listen(self) -> None:
        """Accept connections, on the same port as before."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", local_port=self._port)
        self._port = listener.extra(anyio.abc.SocketAttribute.local_port)
        self._listening = anyio.CancelScope()

        async def serve(scope: anyio.CancelScope = self._listening) -> None:
            with scope:
                async with listener:
                    await listener.serve(self._exchange)

        self._tasks.start_soon(serve)

    async def refuse(self) -> None:
        """Accept no connections any more, as if no server ran; those that are open break."""
        assert self._listening
        self._listening.cancel()
        for _ in range(1000):  # the listener closes when its task runs
            try:
                async with await anyio.connect_tcp("127.0.0.1", self._port):
                    pass
            except OSError:
                return
        raise AssertionError("the proxy still listens")

    async def _exchange(self, client: anyio.abc.SocketStream) -> None:
        async with client:
            with suppress(*GONE):
                head, body = await _request(client)
                line = head.split(b"\r\n", 1)[0].decode().removesuffix(" HTTP/1.1")
                self.requests.append(line)
                self.bodies.append(body)
                self._news.set()
                self._news = anyio.Event()
                await self._answer(client, _forwardable(head, self._target) + body, self._fault(line, body))

    def _fault(self, line: str, body: bytes) -> Fault | None:
        for rule in self._rules:
            if rule.meets(line, body):
                if rule.times is not None:
                    rule.times -= 1
                self.met.set()
                return rule.fault
        return None

    async def _answer(self, client: anyio.abc.SocketStream, request: bytes, fault: Fault | None) -> None:
        match fault:
            case Says():
                await client.send(_response(fault))
            case Hangs(delivered=False):
                await _until_gone(client)
            case Hangs():
                async with await self._deliver(request):
                    await _until_gone(client)
            case HeldUp():
                self._tasks.start_soon(self._deliver_late, request, fault.deliver)
            case Cut(before_it_is_sent=True):
                return
            case Cut(after_events=0):
                async with await self._deliver(request):
                    pass
            case _:
                if isinstance(fault, Waits):
                    fault.there.set()
                    await fault.go.wait()
                async with await self._deliver(request) as server:
                    await _relay(server, client, fault.after_events if isinstance(fault, Cut) else None)

    async def _deliver(self, request: bytes) -> anyio.abc.SocketStream:
        server = await anyio.connect_tcp(*self._target)
        await server.send(request)
        return server

    async def _deliver_late(self, request: bytes, deliver: anyio.Event) -> None:
        await deliver.wait()
        with suppress(*GONE):
            async with await self._deliver(request) as server:
                async for _ in server:  # nobody listens any more, but whoever holds a request up stays until the end
                    pass


@asynccontextmanager
async def proxy_to(target: str) -> AsyncGenerator[Proxy]:
    """A proxy on a port of its own, until the block is left."""
    async with anyio.create_task_group() as tasks:
        proxy = Proxy(target, tasks)
        await proxy.listen()
        yield proxy
        tasks.cancel_scope.cancel()


async def _request(client: anyio.abc.SocketStream) -> tuple[bytes, bytes]:
    stream = BufferedByteReceiveStream(client)
    head = await stream.receive_until(b"\r\n\r\n", HEAD)
    length = int(_header(head, b"content-length") or 0)
    return head, await stream.receive_exactly(length) if length else b""


def _header(head: bytes, name: bytes) -> bytes | None:
    for line in head.split(b"\r\n")[1:]:
        key, _, value = line.partition(b":")
        if key.strip().lower() == name:
            return value.strip()
    return None


def _forwardable(head: bytes, target: tuple[str, int]) -> bytes:
    """The request's head for the server itself, which is to close the connection when it has answered."""
    first, *lines = head.split(b"\r\n")
    kept = [line for line in lines if line.partition(b":")[0].lower() not in (b"host", b"connection")]
    host = "{}:{}".format(*target).encode()
    return b"\r\n".join([first, b"Host: " + host, b"Connection: close", *kept]) + b"\r\n\r\n"


def _response(said: Says) -> bytes:
    body = said.body.encode()
    headers: Any = {"Content-Type": said.kind, "Content-Length": str(len(body)), "Connection": "close"}
    lines = [f"HTTP/1.1 {said.status} said", *(f"{k}: {v}" for k, v in [*headers.items(), *said.headers]), "", ""]
    return "\r\n".join(lines).encode() + body


async def _relay(server: anyio.abc.SocketStream, client: anyio.abc.SocketStream, events: int | None) -> None:
    """Hand the answer on, all of it or some events and the next one's first half."""
    seen = b""
    async for data in server:
        if events is None:
            await client.send(data)
            continue
        seen += data
        head, _, body = seen.partition(b"\r\n\r\n")
        if body.count(b"\n\n") >= events:
            whole = b"\n\n".join(body.split(b"\n\n")[:events]) + b"\n\n"
            await client.send(head + b"\r\n\r\n" + whole)
            return


async def _until_gone(client: anyio.abc.SocketStream) -> None:
    with suppress(*GONE):
        while True:
            await client.receive()
