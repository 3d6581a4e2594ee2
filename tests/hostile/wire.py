"""Raw HTTP: exactly these bytes to a server, and what comes back, within a deadline."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

PATIENCE = 60
"""Seconds after which an answer that has not come never comes, on the slowest machine."""
MODERN = "2026-07-28"
ACCEPTED = "application/json, text/event-stream"


@dataclass(frozen=True)
class Wire:
    """A server's address, and its key."""

    address: str
    key: str

    @property
    def place(self) -> tuple[str, int]:
        """Host and port."""
        parts = urlsplit(self.address)
        return str(parts.hostname), int(parts.port or 0)

    def head(self, more: Mapping[str, str | None]) -> dict[str, str]:
        """The headers of a good request, with others for them; None leaves one out."""
        host, port = self.place
        headers: dict[str, str | None] = {
            "Host": f"{host}:{port}",
            "Authorization": f"Bearer {self.key}",
            "Accept": ACCEPTED,
            "Content-Type": "application/json",
        }
        return {name: value for name, value in {**headers, **more}.items() if value is not None}

    def request(
        self,
        body: bytes = b"",
        headers: Mapping[str, str | None] | None = None,
        *,
        path: str = "/mcp",
        method: str = "POST",
        length: bool = True,
    ) -> bytes:
        """The bytes of a request."""
        lines = [f"{method} {path} HTTP/1.1"]
        given = self.head(headers or {})
        if length:
            given.setdefault("Content-Length", str(len(body)))
        lines += [f"{name}: {value}" for name, value in given.items()]
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(self.place, timeout=PATIENCE)

    def send(self, raw: bytes, *, close: bool = True) -> bytes:
        """All that comes back for these bytes until a whole answer is there or the connection ends."""
        with self.connect() as connection:
            try:
                connection.sendall(raw)
                if close:
                    connection.shutdown(socket.SHUT_WR)
            except OSError:
                pass  # refused before all of it was sent
            return received(connection)

    def healthy(self) -> bool:
        """Whether /health answers."""
        answer = self.send(self.request(path="/health", method="GET", length=False), close=False)
        return answer.startswith(b"HTTP/1.1 200")


def received(connection: socket.socket) -> bytes:
    """What comes until the end of the connection or of one answer. TimeoutError if it never comes."""
    answer = b""
    while True:
        try:
            more = connection.recv(65_536)
        except ConnectionError:
            return answer
        answer += more
        if not more or _whole(answer):
            return answer


def _whole(answer: bytes) -> bool:
    head, parted, body = answer.partition(b"\r\n\r\n")
    if not parted:
        return False
    if length := re.search(rb"(?i)\r\ncontent-length: *(\d+)", head):
        return len(body) >= int(length[1])
    if b"chunked" in head.lower():
        return body.endswith(b"0\r\n\r\n") or b"\r\ndata: {" in body or body.startswith(b"data: {")
    return bool(re.match(rb"HTTP/1.1 (204|304|1\d\d)", answer))


def status(answer: bytes) -> int:
    """The status of an answer; 0 for none."""
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    return int(found[1]) if found else 0


def rpc(method: str, id: Any = 1, **params: Any) -> dict[str, Any]:
    """A request of the stateless revision."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientInfo": {"name": "raw", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    return {"jsonrpc": "2.0", "id": id, "method": method, "params": {**params, "_meta": meta}}


def dumped(value: Any) -> bytes:
    """As JSON, with all that Python's JSON can say."""
    return json.dumps(value).encode()


def resident(process: int) -> int:
    """Bytes of memory that a process holds."""
    pages = Path(f"/proc/{process}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
