"""A web of the tests' own on loopback: names that mean what the test says, and a server that sends what it says.

    async with Site() as site:
        site.on("/page", Reply(body=b"<p>Hello</p>"))             # for every host name
        site.on("/robots.txt", Reply(404), host="open.test")      # for that one
        site.names["open.test"] = [[PUBLIC]]                       # what its name means at each look-up; the last stays
        network = site.network                                     # connections to PUBLIC arrive at this server

A public address is needed to see that one is connected to; so PUBLIC is routed to the server, and to nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import httpcore

from atlas_mcp.reach.web.connecting import Network, resolve

PUBLIC = "93.184.215.14"
HTML = "text/html; charset=utf-8"


@dataclass
class Reply:
    """What the server sends. A `body` that is a function gives it piece by piece."""

    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes | Callable[[], AsyncIterator[bytes]] = b""
    type: str = HTML


def to(location: str, status: int = 302) -> Reply:
    """A redirect."""
    return Reply(status, {"Location": location})


@dataclass
class Asked:
    """A request that came; header names in small letters."""

    host: str
    path: str
    headers: dict[str, str]


class Site(httpcore.AsyncNetworkBackend):
    """The server, its names, and the way to it."""

    def __init__(self, tls: Any = None) -> None:
        self._tls = tls
        self._replies: dict[tuple[str, str], Reply | Callable[[Asked], Reply]] = {}
        self._under: Any = httpcore.AnyIOBackend()
        self.names: dict[str, list[list[str]]] = {}
        self.asked: list[Asked] = []
        self.connected: list[str] = []
        self.looked_up: list[str] = []
        self.sent = 0
        self.at_once = self.most_at_once = 0
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    @property
    def here(self) -> str:
        """Its own address, on loopback."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def network(self) -> Network:
        """How hosts are found and connected to in this web."""
        return Network(self.resolve, self)

    def on(self, path: str, reply: Reply | Callable[[Asked], Reply], host: str = "") -> None:
        self._replies[host, path] = reply

    def paths(self, host: str = "") -> list[str]:
        """The paths that were asked for, but for the rules."""
        return [a.path for a in self.asked if a.path != "/robots.txt" and host in ("", a.host)]

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        if host not in self.names:
            return await resolve(host, port)
        answers = self.names[host]
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        host, port = ("127.0.0.1", self.port) if host == PUBLIC else (host, port)
        return await self._under.connect_tcp(host, port, timeout)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                pairs = (line.partition(":") for line in head[1:] if line)
                headers = {name.lower(): value.strip() for name, _, value in pairs}
                asked = Asked(headers["host"].partition(":")[0], head[0].split()[1], headers)
                self.asked.append(asked)
                await self._answer(asked, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client has gone, which is what many tests are about
        finally:
            writer.close()

    async def _answer(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        self.at_once += asked.path != "/robots.txt"
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            found = self._replies.get((asked.host, asked.path)) or self._replies.get(("", asked.path))
            reply = Reply(404) if found is None else found(asked) if callable(found) else found
            lines = [f"HTTP/1.1 {reply.status} Some phrase", f"Content-Type: {reply.type}"]
            lines += [f"{name}: {value}" for name, value in reply.headers.items()]
            if isinstance(reply.body, bytes):
                lines += [] if "Content-Length" in reply.headers else [f"Content-Length: {len(reply.body)}"]
                await self._send(writer, "\r\n".join([*lines, "", ""]).encode("latin-1") + reply.body)
                return
            await self._send(writer, "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1"))
            async for piece in reply.body():
                await self._send(writer, piece)
            raise ConnectionResetError("the body has ended, and so does the connection")
        finally:
            self.at_once -= asked.path != "/robots.txt"

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.sent += len(data)
