"""Starting the process that carries a spool to its end, at the right moment and only when there is none.

The process that serves calls `Sidecar` from its spool thread. A carrier is started when something waits, no other one
works on this home, and no call was traced for three seconds (or fifteen have passed): loading MLflow takes seconds of a
processor, which must not fall into a burst. After a failure nobody starts one before the pause it asked for. At the end
of the serving process one is started only for a server or a collector, where it is cheap; the home's own database is
filled by the next process that serves, or by `atlas-mcp traces`.

The carrier is detached, of low priority, and inherits no file of ours: it reads its destination from a pipe and writes
to `logs/ingest.log`. It gets the environment without anything that is named like a secret.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.collector import Collector
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.payload import is_secret_key
from atlas_mcp.watch.spool import anything_waits
from atlas_mcp.watch.state import load_state

LOCK: Final = Destination.lock

End = Destination | Collector
"""Where a spool is carried to."""

_QUIET_SECONDS: Final = 3.0
_PATIENCE_SECONDS: Final = 15.0
_RESTART_SECONDS: Final = 30.0
_LOG_BYTES: Final = 1 << 20
_QUIET_MLFLOW: Final = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_MODEL_CATALOG_URI": "",  # else prices are fetched from the internet, seconds for each provider
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ASYNC_TRACE_LOGGING": "false",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",  # else the page is 15 processes
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "DO_NOT_TRACK": "1",
}

_log = logging.getLogger(__name__)


class Sidecar:
    """Knows when the next carrier is due. Not for several threads at once."""

    def __init__(self, home: Path, destination: End) -> None:
        self._home = home
        self._spool = home / destination.folder
        self._destination = destination
        self._child: subprocess.Popen[bytes] | None = None
        self._next_start = 0.0
        # What earlier processes left is looked for once, soon after the start.
        self._since: float | None = time.monotonic()
        self._due = self._since + _QUIET_SECONDS + 2.0
        _ = destination.kind  # an impossible one is refused here, at the start

    def expect(self) -> None:
        """Something has just been put into the spool."""
        now = time.monotonic()
        self._since = now if self._since is None else self._since
        self._due = max(self._due, min(now + _QUIET_SECONDS, self._since + _PATIENCE_SECONDS))

    def pause(self) -> float | None:
        """Seconds until `attend` has something to do; None for never."""
        return None if self._since is None else max(0.05, self._due - time.monotonic())

    def attend(self) -> None:
        """Start a carrier if one is due and missing. Raises OSError when that fails."""
        if self._since is None or time.monotonic() < self._due:
            return
        self._reap()
        if not anything_waits(self._spool):
            self._since = None
            return
        self._due = time.monotonic() + _QUIET_SECONDS
        if time.monotonic() >= self._next_start:
            self._start_if_missing()

    def leave(self) -> None:
        """The process ends: traces for a server or a collector must not wait for the next one."""
        if self._destination.kind in ("server", "otlp") and anything_waits(self._spool):
            self._start_if_missing()
        self._reap()

    def _start_if_missing(self) -> None:
        if load_state(self._spool).retry_at <= time.time():
            child = ensure_ingest(self._home, self._destination)
            if child:
                self._child = child
                self._next_start = time.monotonic() + _RESTART_SECONDS

    def _reap(self) -> None:
        if self._child and self._child.poll() is not None:
            self._child = None


def ensure_ingest(home: Path, destination: End) -> subprocess.Popen[bytes] | None:
    """Start a carrier for this home unless one works already; None then. Raises OSError when it cannot be started."""
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    if Locks(home / "locks").is_held(destination.lock):
        return None
    return start_ingest(home, destination)


def start_ingest(home: Path, destination: End, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `atlas_mcp.watch.ingest` as a detached process that writes to the home's log."""
    command = [sys.executable, "-P", "-m", "atlas_mcp.watch.ingest", str(home), "--destination-from-stdin", *arguments]
    with open_log(home).open("ab") as log:
        child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=home,
            env=child_environment(),
            start_new_session=True,
        )
    if child.stdin:
        with child.stdin as pipe:
            pipe.write(f"{destination.to_wire()}\n".encode())
    return child


def child_environment() -> dict[str, str]:
    """The environment for a process that loads MLflow: quiet, bound to no tracking server, and without secrets."""
    foreign = ("MLFLOW_TRACKING_", "MLFLOW_REGISTRY_", "MLFLOW_EXPERIMENT_", "MLFLOW_RUN_ID", "OTEL_EXPORTER_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(foreign) and not is_secret_key(k)}
    return {**kept, **_QUIET_MLFLOW}


def open_log(home: Path) -> Path:
    """The log file of the carrier and the page; the last megabyte is kept, and the one before it."""
    folder = home / "logs"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "ingest.log"
    if path.exists() and path.stat().st_size > _LOG_BYTES:
        path.replace(folder / "ingest.log.1")
    path.touch(mode=0o600)
    return path
