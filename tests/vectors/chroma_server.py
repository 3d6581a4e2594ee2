"""A real Chroma server, and a way to it that can be slow, silent or closed."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterator

START_SECONDS = 60
Way = Literal["open", "slow", "silent"]


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextmanager
def chroma_server(folder: Path, port: int) -> Iterator[None]:
    """`chroma run` over that folder."""
    folder.mkdir(exist_ok=True)
    command = [str(Path(sys.executable).parent / "chroma"), "run"]
    place = ["--path", str(folder), "--host", "127.0.0.1", "--port", str(port)]
    process = subprocess.Popen([*command, *place], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder)
    try:
        until = time.monotonic() + START_SECONDS
        while True:
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert process.poll() is None, "the Chroma server ended"
            assert time.monotonic() < until
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()


class Gate:
    """Connections to a port go through here as it lets them: at once, each piece after three seconds, or not at all."""

    def __init__(self, port: int) -> None:
        self.way: Way = "open"
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                threading.Thread(target=self._connect, args=(one,), daemon=True).start()

    def _connect(self, one: socket.socket) -> None:
        try:
            other = socket.create_connection(("127.0.0.1", self._to), 5)
        except OSError:
            one.close()
            return
        threading.Thread(target=self._carry, args=(other, one), daemon=True).start()
        self._carry(one, other)

    def _carry(self, source: socket.socket, to: socket.socket) -> None:
        with suppress(OSError):
            while piece := source.recv(1 << 16):
                if self.way == "slow":
                    time.sleep(3)
                while self.way == "silent":
                    time.sleep(0.05)
                to.sendall(piece)
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
