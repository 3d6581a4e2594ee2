"""An `atlas-mcp letta` of a test's own: a real process at a real address, which can be stopped and started again."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.postgres import kept_port


class LettaProcess:
    """The embedded Letta on a home of its own and on a port that stays the same."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port, self._place = kept_port()
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def name(self) -> str:
        """What ATLAS calls it."""
        return f"127.0.0.1:{self.port}"

    @property
    def key(self) -> str:
        """The key it wants."""
        return (self.home / "keys" / "letta").read_text().strip()

    def start(self) -> None:
        """Start it, and come back when it listens."""
        self.begin()
        assert self._process
        assert self._process.stderr
        seen = ""
        while not re.search(r"http://127\.0\.0\.1:\d+", seen):  # whatever else it says before
            line = self._process.stderr.readline()
            assert line, f"Letta ended: {seen}"
            seen += line

    def begin(self) -> None:
        """Start it, and come back at once."""
        command = [sys.executable, "-m", "atlas_mcp", "letta", "--port", str(self.port)]
        environment = {**os.environ, "ATLAS_HOME": str(self.home)}
        for name in [n for n in environment if n.startswith("LETTA_")]:
            del environment[name]
        self._process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL, env=environment
        )

    def stop(self) -> None:
        """Kill it, as a machine that fails does."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)
            self._process.communicate(timeout=60)
            self._process = None

    def close(self) -> None:
        """Let go of its port; it is not started any more."""
        self._place.close()

    def freeze(self) -> None:
        """Let it answer nothing any more, as a machine that hangs."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on, if it was frozen."""
        assert self._process
        self._process.send_signal(signal.SIGCONT)


@contextmanager
def letta_process(home: Path) -> Iterator[LettaProcess]:
    """A running one, stopped at the end."""
    process = LettaProcess(home)
    try:
        process.start()
        yield process
    finally:
        process.stop()
        process.close()
