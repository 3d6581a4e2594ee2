"""Whatever a host writes into the pipe, the server answers what can be answered, and ends when the pipe does."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import pytest

from tests.hostile.house import ROOT, TRACES
from tests.hostile.wire import dumped, rpc
from tests.server.doors import COMMAND

SECONDS = 60
GARBAGE = [
    b"\n",
    b"garbage\n",
    b"\xff\xfe\x00\n",
    b"\x00\x00\x00\n",
    b"\r\n",
    b"[" * 100_000 + b"\n",
    b"9" * 100_000 + b"\n",
    b'{"jsonrpc":"2.0","id":1}\n',
    b'{"jsonrpc":"2.0","id":"\\ud800","method":"ping"}\n',
    b"Content-Length: 5\r\n\r\nhello\n",
    dumped([rpc("ping")]) + b"\n",
    dumped({"jsonrpc": "2.0", "id": 99, "result": {}}) + b"\n",
    dumped({"jsonrpc": "2.0", "method": "notifications/\x1b[2J"}) + b"\n",
    b"x" * 5_000_000 + b"\n",
]


class Pipe:
    """A server on a pipe; what it says is read all the while."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [*COMMAND, "serve"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self.said: Queue[bytes] = Queue()
        self.log: list[bytes] = []
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=lambda: self.log.extend(self.process.stderr or ()), daemon=True).start()

    def write(self, raw: bytes) -> None:
        """These bytes."""
        assert self.process.stdin is not None
        self.process.stdin.write(raw)
        self.process.stdin.flush()

    def answer(self, id: object) -> dict[str, Any]:
        """The answer to the request with that id; whatever comes before it is checked as well."""
        while True:
            line = self.said.get(timeout=SECONDS)
            assert line, f"the server ended: {self.log}"
            message = json.loads(line)
            assert not TRACES.search(line.decode())
            assert str(ROOT) not in line.decode()
            if message.get("id") == id:
                return message

    def _read(self) -> None:
        for line in self.process.stdout or ():
            self.said.put(line)
        self.said.put(b"")


def most(process: int) -> int:
    """Bytes of memory that a process held at most."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) * 1024 if found else 0


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    one = Pipe()
    try:
        yield one
    finally:
        one.process.kill()
        one.process.wait()


def test_garbage_between_requests_is_passed_over(pipe: Pipe) -> None:
    for number, raw in enumerate(GARBAGE):
        pipe.write(raw)
        pipe.write(dumped(rpc("tools/list", f"after {number}")) + b"\n")
        assert pipe.answer(f"after {number}")["result"]["tools"]
    for line in pipe.log:
        assert isinstance(json.loads(line), dict)


def test_a_line_that_never_ends_takes_no_more_memory_than_a_message_may(pipe: Pipe) -> None:
    pipe.write(dumped(rpc("tools/list", "before")) + b"\n")
    pipe.answer("before")
    before = most(pipe.process.pid)
    for _ in range(100):
        pipe.write(b"x" * 2_000_000)
    pipe.write(b"\n" + dumped(rpc("tools/list", "after")) + b"\n")
    assert pipe.answer("after")["result"]["tools"]
    assert most(pipe.process.pid) < before + 150_000_000


@pytest.mark.parametrize("last", [b"", b'{"jsonrpc":"2.0","id":1,"meth', b"\xff", dumped(rpc("tools/list"))])
def test_half_a_message_and_the_end_of_the_pipe_end_the_server(pipe: Pipe, last: bytes) -> None:
    pipe.write(dumped(rpc("tools/list", "first")) + b"\n")
    pipe.answer("first")
    pipe.write(last)
    assert pipe.process.stdin is not None
    pipe.process.stdin.close()
    assert pipe.process.wait(SECONDS) == 0
    assert not any(b"Traceback" in line for line in pipe.log)
