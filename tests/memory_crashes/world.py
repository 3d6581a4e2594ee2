"""A process that writes vectors and feeds Chroma, which can be killed together with its Chroma at any moment.

It writes passages of several callers, each with its vector, fifty in one commit, deletes some of the older ones, and
says what it has done only after the commit: what it said must be found, and what it said it deleted must not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread

if TYPE_CHECKING:
    from collections.abc import Iterator

DEADLINE = 90
TOLD_A_SECOND = 300
"""Vectors that Chroma takes in a second, at the least, when it is made anew."""
DELETED = 5
"""How many of those that were written in one commit are deleted in the next."""
ROOT = Path(__file__).parents[2]


@dataclass
class Said:
    """What the writers acknowledged: the markers that are there, and those that were deleted."""

    there: dict[int, str] = field(default_factory=dict[int, str])
    gone: set[int] = field(default_factory=set[int])

    def take(self, line: str) -> None:
        said = json.loads(line)
        # Its first ones are deleted next: whether they are is not known before it says so.
        self.there |= dict.fromkeys(said.get("wrote", ())[DELETED:], said["caller"])
        self.gone |= set(said.get("deleted", ()))


class Writer:
    """A process that writes, from a first marker on, and starts a Chroma process for that."""

    def __init__(self, home: Path, first: int) -> None:
        command = [sys.executable, "-m", "tests.memory_crashes.writer", str(home), str(first)]
        self.home = home
        self.deadline = DEADLINE + first / TOLD_A_SECOND
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, cwd=ROOT
        )
        self.lines: list[str] = []
        self.chroma: int | None = None
        self._ready = False
        self.errors = ""
        self._more = threading.Condition()
        self._ended = False
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._read_errors, daemon=True).start()

    def wait_for(self, lines: int, *, ready: bool = True) -> None:
        """Return when it has acknowledged so much, and its Chroma is ready, or at least started."""

        def enough() -> bool:
            so_far = self._ready if ready else self.chroma is not None
            return self._ended or (len(self.lines) >= lines and so_far)

        with self._more:
            done = self._more.wait_for(enough, self.deadline)
        assert done, f"it does not get on in {self.deadline:.0f} s: {self.errors}"
        assert not self._ended, self.errors

    def kill(self, *, chroma: bool = True) -> None:
        """kill -9 for it and its Chroma at the same moment, as when a machine's memory is full or a container ends.

        Or for it alone, as when a host ends it.
        """
        for pid in (self.chroma if chroma else None, self.process.pid):
            if pid is not None:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        self.process.wait(DEADLINE)
        with self._more:
            assert self._more.wait_for(lambda: self._ended, DEADLINE)

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self._more:
                if line.startswith("chroma "):
                    self.chroma = int(line.split()[1])
                elif line == "ready\n":
                    self._ready = True
                elif line.endswith("\n"):
                    self.lines.append(line)
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    def _read_errors(self) -> None:
        assert self.process.stderr
        self.errors = self.process.stderr.read()


def index_files(home: Path) -> Iterator[Path]:
    """The files that Chroma overwrites when it keeps its index."""
    return (home / "chroma" / "files").glob("*/data_level0.bin")


async def aim(home: Path, writer: Writer, seconds: float) -> bool:
    """Return so long after Chroma has begun to overwrite its index; False if it never did."""

    def stamps() -> dict[Path, int]:
        found: dict[Path, int] = {}
        for path in index_files(home):
            with suppress(FileNotFoundError):
                found[path] = path.stat().st_mtime_ns
        return found

    before = stamps()
    with anyio.move_on_after(DEADLINE):
        while stamps() == before and writer.process.poll() is None:  # noqa: ASYNC110 - files tell no event
            await anyio.sleep(0.0005)
        await anyio.sleep(seconds)
        return writer.process.poll() is None
    return False
