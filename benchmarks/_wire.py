"""The smallest clients there are, for measuring servers and not clients: JSON-RPC over a pipe, and over HTTP.

Both speak the newer era of the protocol, in which a request stands for itself, unless a handshake is asked for. They
belong to anyio's event loop; one HTTP client has one connection, which is kept.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any

import anyio
from anyio.streams.buffered import BufferedByteReceiveStream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from anyio.abc import ByteSendStream, SocketStream

ATLAS = [sys.executable, "-m", "atlas_mcp", "serve"]
MODERN, LEGACY = "2026-07-28", "2025-11-25"
CLIENT = {"name": "benchmark", "version": "1"}
_META = "io.modelcontextprotocol"
_LONGEST = 16 * 1024 * 1024


def request(id: int, method: str, params: dict[str, Any]) -> dict[str, Any]:
    """A request of the newer era, with all that it must say."""
    said = {"protocolVersion": MODERN, "clientInfo": CLIENT, "clientCapabilities": {}}
    meta = {f"{_META}/{name}": value for name, value in said.items()}
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": meta}}


class Pipe:
    """A client over stdio; any number of requests may be under way."""

    def __init__(self, incoming: ByteSendStream, outgoing: BufferedByteReceiveStream) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._last = 0
        self._waiting: dict[int, tuple[anyio.Event, list[dict[str, Any]]]] = {}

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One request, answered."""
        self._last += 1
        answered, answer = anyio.Event(), list[dict[str, Any]]()
        self._waiting[self._last] = answered, answer
        await self._incoming.send(json.dumps(request(self._last, method, params)).encode() + b"\n")
        await answered.wait()
        return _result(answer[0])

    async def listen(self) -> None:
        """Hand each answer to who waits for it, until cancelled."""
        while True:
            message = json.loads(await self._outgoing.receive_until(b"\n", _LONGEST))
            if waiting := self._waiting.pop(message.get("id"), None):
                answered, answer = waiting
                answer.append(message)
                answered.set()


@asynccontextmanager
async def piped(command: list[str], environment: dict[str, str]) -> AsyncIterator[tuple[Pipe, int]]:
    """A client on a server of its own, and that server's process id."""
    whole = os.environ | environment
    async with await anyio.open_process(command, stderr=subprocess.DEVNULL, env=whole) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pipe = Pipe(process.stdin, BufferedByteReceiveStream(process.stdout))
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pipe.listen)
            await pipe.ask("server/discover")
            yield pipe, process.pid
            tasks.cancel_scope.cancel()
        await process.stdin.aclose()
        with anyio.move_on_after(30):
            await process.wait()
        if process.returncode is None:
            process.kill()


class Http:
    """A client with one connection over HTTP; one request at a time."""

    def __init__(self, address: str, key: str | None) -> None:
        self._host, _, port = address.removeprefix("http://").partition(":")
        self._port = int(port)
        self._key = key
        self._stream: SocketStream | None = None
        self._reader: BufferedByteReceiveStream | None = None
        self.headers: dict[str, str] = {}
        """Sent with each request besides those that every request has."""

    async def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One request of the newer era, answered."""
        named = {"mcp-protocol-version": MODERN, "mcp-method": method}
        if name := params.get("name") or params.get("uri"):
            named["mcp-name"] = name
        await self.send(request(1, method, params), named)
        _, body = await self.answer()
        return _result(body)

    async def send(self, message: dict[str, Any], more: dict[str, str]) -> None:
        """Send one message; the connection is made when there is none."""
        body = json.dumps(message).encode()
        await self._begin("POST", {"content-type": "application/json", "content-length": str(len(body)), **more}, body)

    async def open_stream(self) -> None:
        """Ask for the stream of the session that the headers name."""
        await self._begin("GET", {}, b"")

    async def _begin(self, method: str, more: dict[str, str], body: bytes) -> None:
        lines = {
            "host": f"{self._host}:{self._port}",
            "accept": "application/json, text/event-stream" if body else "text/event-stream",
            **({"authorization": f"Bearer {self._key}"} if self._key else {}),
            **self.headers,
            **more,
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        if self._stream is None:
            self._stream = await anyio.connect_tcp(self._host, self._port)
            self._reader = BufferedByteReceiveStream(self._stream)
        await self._stream.send(f"{method} /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and headers of what comes next."""
        assert self._reader is not None
        first, *lines = (await self._reader.receive_until(b"\r\n\r\n", 65_536)).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return int(first.split()[1]), headers

    async def answer(self) -> tuple[dict[str, str], dict[str, Any]]:
        """The headers and the JSON-RPC answer to what was sent; an empty one where nothing is said."""
        status, headers = await self.head()
        body = await self._body(headers)
        assert status < 400, (status, body)
        if "event-stream" in headers.get("content-type", ""):
            data = [line[5:] for line in body.splitlines() if line.startswith("data:") and line[5:].strip()]
            body = data[-1] if data else ""
        return headers, json.loads(body) if body else {}

    async def _body(self, headers: dict[str, str]) -> str:
        assert self._reader is not None
        if "chunked" not in headers.get("transfer-encoding", ""):
            length = int(headers.get("content-length", 0))
            return (await self._reader.receive_exactly(length)).decode() if length else ""
        parts: list[bytes] = []
        while size := int(await self._reader.receive_until(b"\r\n", 64), 16):
            parts.append(await self._reader.receive_exactly(size))
            await self._reader.receive_exactly(2)
        await self._reader.receive_until(b"\r\n", 64)
        return b"".join(parts).decode()

    async def aclose(self) -> None:
        """Close the connection; the next request makes another."""
        if self._stream is not None:
            await self._stream.aclose()
        self._stream = None


def _result(message: dict[str, Any]) -> dict[str, Any]:
    assert "result" in message, message
    return message["result"]


@contextmanager
def over_http(
    command: list[str], environment: dict[str, str], ready: str
) -> Iterator[tuple[str, str | None, subprocess.Popen[str]]]:
    """A server over HTTP that says `ready` on stderr: its address, its key where it names one, and its process."""
    whole = os.environ | environment
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=whole) as process:
        try:
            assert process.stderr is not None
            said = ""
            while ready not in said:
                line = process.stderr.readline()
                assert line, f"the server ended: {said}"
                said += line
            address = re.search(r"http://127\.0\.0\.1:\d+", said)
            file = re.search(r"the key is in (.+)", said)
            assert address
            yield address[0], _read(file[1].strip()) if file else None, process
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


def _read(path: str | Path) -> str:
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return file.read().strip()


def resident_mib(pid: int) -> float:
    """The process's resident memory, in MiB (Linux)."""
    found = re.search(r"VmRSS:\s+(\d+) kB", _read(f"/proc/{pid}/status"))
    assert found
    return int(found[1]) / 1024


def handles(pid: int) -> int:
    """How many files and sockets the process holds open (Linux)."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208
