"""A server on a loopback port that stands for a service: it answers as the test tells it, and refuses what it does not
know, so that a wrong request fails.

    async with loopback() as server:
        server.answers(lambda call: Reply({"results": []}))
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from inspect import isawaitable
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote

import anyio
import uvicorn

from atlas_mcp.model.caller import Caller
from atlas_mcp.reach.context import CallContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Call:
    """What the server was asked; `path` is as it was sent, `query` and `body` as they are read."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    content: bytes

    @property
    def body(self) -> Any:
        return json.loads(self.content)

    @property
    def form(self) -> dict[str, str]:
        return dict(parse_qsl(self.content.decode()))

    @property
    def place(self) -> str:
        return unquote(self.path)


@dataclass
class Reply:
    """What it answers: `content` as JSON, or bytes as they are."""

    content: Any = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


Answering = Callable[[Call], "Reply | Awaitable[Reply]"]


class Loopback:
    """The server, and what it was asked. `now` is answered before anything else, once each, in this order."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[Call] = []
        self.now: list[Reply | Answering] = []
        self._answer: Answering = lambda call: Reply({"error": f"unexpected: {call.method} {call.path}"}, 404)

    def answers(self, answer: Answering) -> None:
        """Let it answer so from now on."""
        self._answer = answer

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        content, more = b"", True
        while more:
            message = await receive()
            content, more = content + message.get("body", b""), message.get("more_body", False)
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True, strict_parsing=False))
        call = Call(scope["method"], scope["raw_path"].decode(), query, headers, content)
        self.calls.append(call)
        reply = self.now.pop(0) if self.now else self._answer
        if not isinstance(reply, Reply):
            answered = reply(call)
            reply = await answered if isawaitable(answered) else answered
        body = reply.content if isinstance(reply.content, bytes) else json.dumps(reply.content).encode()
        sent = {"content-type": "application/json", **reply.headers}
        pairs = [(name.encode(), value.encode()) for name, value in sent.items()]
        await send({"type": "http.response.start", "status": reply.status, "headers": pairs})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def loopback() -> AsyncIterator[Loopback]:
    """The server, until the block is left; whoever still waits for an answer is cut off."""
    server: Loopback | None = None

    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert server
        await server.app(scope, receive, send)

    config = uvicorn.Config(
        app, port=0, log_level="critical", lifespan="off", timeout_graceful_shutdown=0, date_header=False
    )
    listening = config.bind_socket()
    server = Loopback("http://{}:{}".format(*listening.getsockname()))
    running = uvicorn.Server(config)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(running.serve, [listening])
        try:
            yield server
        finally:
            running.should_exit = running.force_exit = True


@dataclass
class Told:
    """What a door told of what it found and spent; `refuse` is raised where it would spend."""

    found: list[tuple[str, str, str]] = field(default_factory=list[tuple[str, str, str]])
    spent: list[tuple[str, float]] = field(default_factory=list[tuple[str, float]])
    refuse: Exception | None = None
    caller: str = "local:me"

    @property
    def context(self) -> CallContext:
        return CallContext(Caller(id=self.caller), "ada", "run-1", self._found, self._spent)

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.found]

    async def _found(self, name: str, text: str, *, title: str = "") -> None:
        self.found.append((name, text, title))

    async def _spent(self, service: str, usd: float) -> None:
        if self.refuse:
            raise self.refuse
        self.spent.append((service, usd))
