"""A Redis for tests: a real one where it can be had, else the small one of small_redis.py. Both are processes.

A real one is `redis-server` or `valkey-server` of the machine, or Debian's package, which is fetched once into the
user's cache folder and unpacked there, where apt-get can do so; nothing is installed, and no right is needed.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import platformdirs

SMALL = "ATLAS_TEST_SMALL_REDIS"
"""Set for running the tests against the small server, whatever there is."""
PACKAGES = ("redis-tools", "libjemalloc2", "liblzf1")  # the server's program lies in redis-tools on Debian 12
FETCH_SECONDS = 60
START_SECONDS = 20.0
_KEEP = '"$@" </dev/null >/dev/null 2>&1 & echo $!; read -r line; kill -9 $!'
"""Started by a shell that kills it when its own standard input ends: nothing outlives the tests."""


@dataclass
class RunningRedis:
    """A server that can be killed, started again on its port, frozen and thawed."""

    program: list[str]
    port: int
    environment: dict[str, str]
    folder: Path
    _shell: subprocess.Popen[str] | None = None
    pid: int = 0
    kind: str = field(default="small")

    @property
    def url(self) -> str:
        """Its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self._shell = subprocess.Popen(
            ["sh", "-c", _KEEP, "sh", *self.program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=self.environment,
            cwd=self.folder,
            start_new_session=True,
        )
        assert self._shell.stdout
        self.pid = int(self._shell.stdout.readline())
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < deadline, f"{self.program[0]} did not start"
            time.sleep(0.01)

    def kill(self) -> None:
        """Kill it as if its machine had lost its power."""
        if self._shell is not None:
            assert self._shell.stdin
            self._shell.stdin.close()
            self._shell.wait(START_SECONDS)
            self._shell = None

    def freeze(self) -> None:
        """Let it hang: connections are taken, and nothing is answered."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as door:
                door.sendall(b"*1\r\n$4\r\nPING\r\n")
                return door.recv(7).startswith(b"+PONG")
        except OSError:
            return False


@contextmanager
def running_redis(*, small: bool = False) -> Iterator[RunningRedis]:
    """A server of one's own, empty; the small one if that is asked for."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        port = door.getsockname()[1]
    found = None if small else real_one()
    with tempfile.TemporaryDirectory() as folder:
        if found is None:
            program = [sys.executable, str(Path(__file__).with_name("small_redis.py")), str(port)]
            server = RunningRedis(program, port, {**os.environ}, Path(folder))
        else:
            program = [str(found), "--port", str(port), "--bind", "127.0.0.1", "--appendonly", "no"]
            server = RunningRedis(program, port, _environment(found), Path(folder), kind="real")
        server.start()
        try:
            yield server
        finally:
            server.kill()


@cache
def real_one() -> Path | None:
    """The program of a real server, None where there is none to be had."""
    if os.environ.get(SMALL):
        return None
    for name in ("redis-server", "valkey-server"):
        if path := shutil.which(name):
            return Path(path)
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        return None
    kept = Path(platformdirs.user_cache_dir("atlas-mcp-tests")) / "redis-debian"
    if not kept.exists() and not _fetched(kept):
        return None
    program = kept / "usr/bin/redis-server"
    done = subprocess.run([program, "--version"], capture_output=True, env=_environment(program), check=False)
    return program if done.returncode == 0 else None


def _fetched(folder: Path) -> bool:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as made:
        try:
            got = subprocess.run(
                ["apt-get", "download", *PACKAGES], cwd=made, capture_output=True, timeout=FETCH_SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            return False
        files = [*Path(made).glob("*.deb")]
        if got.returncode or len(files) < len(PACKAGES):
            return False
        whole = Path(made) / "whole"
        for file in files:
            subprocess.run(["dpkg", "-x", file, whole], check=True, capture_output=True)
        program = whole / "usr/bin/redis-server"
        if not program.exists():
            program.symlink_to("redis-check-rdb")  # one program, which goes by its name
        try:
            whole.rename(folder)
        except OSError:  # another session was first
            return folder.exists()
    return True


def _environment(program: Path) -> dict[str, str]:
    folders = [str(path) for path in program.parent.parent.glob("lib/*-linux-gnu")]
    return (
        {**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(folders)}
        if "redis-debian" in str(program)
        else {**os.environ}
    )
