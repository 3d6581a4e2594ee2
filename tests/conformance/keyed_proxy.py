"""A door for programs that cannot send the key: what comes in goes on to the server with the key added.

The Host and all else stay as they were sent, so that what the server checks is still what the program sent. One request
a connection: the answer says so, and the next one comes on another.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_END = b"\r\n\r\n"


class KeyedProxy(socketserver.ThreadingTCPServer):
    """Listens at once; leads nowhere until `lead` says where to."""

    daemon_threads = True
    upstream: tuple[str, int]
    key: str

    def lead(self, address: str, key: str) -> None:
        """Send on to that http address, with that key."""
        host, _, port = address.removeprefix("http://").rpartition(":")
        self.upstream, self.key = (host, int(port)), key

    @property
    def port(self) -> int:
        """Where it listens, on loopback."""
        return int(self.server_address[1])


class _Request(socketserver.BaseRequestHandler):
    request: socket.socket
    server: KeyedProxy

    def handle(self) -> None:
        received = b""
        while _END not in received:
            if not (chunk := self.request.recv(65_536)):
                return
            received += chunk
        head, _, body = received.partition(_END)
        kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
        added = [b"Connection: close", f"Authorization: Bearer {self.server.key}".encode()]
        with socket.create_connection(self.server.upstream) as upstream:
            upstream.sendall(b"\r\n".join([*kept, *added]) + _END + body)
            threading.Thread(target=_pump, args=(self.request, upstream), daemon=True).start()
            _pump(upstream, self.request)


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry bytes until one side is done; then the other is, too."""
    with suppress(OSError):
        while chunk := source.recv(65_536):
            sink.sendall(chunk)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_RDWR)


@contextmanager
def keyed_proxy() -> Iterator[KeyedProxy]:
    """The door, until the block is left."""
    with KeyedProxy(("127.0.0.1", 0), _Request) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield proxy
        proxy.shutdown()
