"""A server on a loopback port that makes vectors as OpenAI's and Voyage's do, and can be told to do it badly.

async with embedding_server() as server:
    server.rule = refuse_with(401)
    ... ATLAS_EMBEDDING_URL=server.url ...
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

import anyio

from tests.connectors import loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@dataclass
class Call:
    """What was asked of the server."""

    path: str
    key: str | None
    body: dict[str, Any]

    @property
    def texts(self) -> list[str]:
        return self.body["input"]


@dataclass
class Reply:
    """What it answers; None for content is the vectors of the texts."""

    status: int = 200
    content: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    dimension: int = 16


Rule = Callable[[Call], Awaitable[Reply]]


def vector_of(text: str, model: str, dimension: int = 16) -> list[float]:
    """The server's vector of that text; not of length 1."""
    digest = blake2b(f"{model} {text}".encode(), digest_size=dimension).digest()
    return [byte - 127.5 for byte in digest]


async def good(_: Call) -> Reply:
    return Reply()


def refuse_with(status: int, said: str = "no", **headers: str) -> Rule:
    async def rule(_: Call) -> Reply:
        content = json.dumps({"error": {"message": said}}).encode()
        return Reply(status, content, {name.replace("_", "-"): value for name, value in headers.items()})

    return rule


class EmbeddingServer:
    """The server, and what it was asked."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.calls: list[Call] = []
        self.rule: Rule = good
        self._news = anyio.Event()

    @property
    def texts(self) -> list[str]:
        """All the texts that it was asked for."""
        return [text for call in self.calls for text in call.texts]

    async def asked(self, wanted: Callable[[Call], bool] = lambda _: True, *, times: int = 1) -> None:
        """Until it was asked that, as often."""
        while sum(map(wanted, self.calls)) < times:
            await self._news.wait()

    async def answer(self, asked: loopback.Call) -> loopback.Reply:
        key = asked.headers.get("authorization", "").removeprefix("Bearer ") or None
        call = Call(asked.place, key, asked.body)
        self.calls.append(call)
        news, self._news = self._news, anyio.Event()
        news.set()
        reply = await self.rule(call)
        return loopback.Reply(_vectors(call, reply), reply.status, reply.headers)


def _vectors(call: Call, reply: Reply) -> bytes:
    if reply.content is not None:
        return reply.content
    model = call.body["model"]
    data = [{"index": n, "embedding": vector_of(t, model, reply.dimension)} for n, t in enumerate(call.texts)]
    return json.dumps({"data": data[::-1]}).encode()  # in no order that anybody promised


@asynccontextmanager
async def embedding_server() -> AsyncIterator[EmbeddingServer]:
    """The server, until the block is left; whoever still waits for an answer is cut off."""
    async with loopback.loopback() as listening:
        server = EmbeddingServer(f"{listening.url}/v1")
        listening.answers(server.answer)
        yield server
