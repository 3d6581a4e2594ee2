"""A program in a terminal of its own: what is on its screen, and keys for it."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import termios
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pyte

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

ROWS, COLUMNS = 45, 150
ENTER = "\r"


class Terminal:
    """The screen as a person would see it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._screen.write_process_input = lambda data: self.type(data)  # what a terminal itself answers

    @property
    def text(self) -> str:
        """All that is on the screen."""
        return "\n".join(line.replace("\xa0", " ").rstrip() for line in self._screen.display)

    def type(self, keys: str) -> None:
        """Press these keys."""
        os.write(self._descriptor, keys.encode())

    def until(self, what: str | Callable[[], bool], seconds: float = 180) -> None:
        """Read on until that is on the screen, or is so; fails with the screen when the time is over."""
        reached = what if callable(what) else lambda: what in self.text
        assert self._read_until(reached, seconds), f"not in {seconds} s: {what}; on the screen:\n{self.text}"

    def press(self, keys: str, until: str | Callable[[], bool]) -> None:
        """Press these keys until that is so: what was just drawn does not always hear them yet."""
        reached = until if callable(until) else lambda: until in self.text
        for _ in range(9):
            self.type(keys)
            if self._read_until(reached, 10):
                return
        raise AssertionError(f"{keys!r} does not lead to {until}; on the screen:\n{self.text}")

    def _read_until(self, reached: Callable[[], bool], seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not reached():
            if time.monotonic() > deadline:
                return False
            if select.select([self._descriptor], [], [], 0.1)[0]:
                try:
                    self._stream.feed(os.read(self._descriptor, 65_536))
                except OSError:
                    raise AssertionError(f"the program ended; on the screen:\n{self.text}") from None
        return True


@contextmanager
def terminal(command: Sequence[str | Path], folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run the command in that folder until the block is left; then it and all of its own processes are killed."""
    ours, its = pty.openpty()
    fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = subprocess.Popen(
        [*map(str, command)],
        stdin=its,
        stdout=its,
        stderr=its,
        cwd=folder,
        env={"TERM": "xterm-256color", **environment},
        start_new_session=True,
    )
    os.close(its)
    try:
        yield Terminal(ours)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        os.close(ours)
