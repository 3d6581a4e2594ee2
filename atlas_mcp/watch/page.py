"""MLflow's own page on this home's traces, for a person to look at.

`serve_page` takes what still waits in the spool to MLflow, runs MLflow's server as a child process on the home's
database (loopback unless told otherwise), and ends it, with all that it started, when the body ends. With an MLflow
server as destination there is nothing to run: the page is that server's.
"""

from __future__ import annotations

import errno
import logging
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from atlas_mcp.errors import ConfigurationError, PortInUse, Unavailable
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.sidecar import LOCK, child_environment, open_log, start_ingest
from atlas_mcp.watch.spool import anything_waits
from atlas_mcp.watch.state import load_state

if TYPE_CHECKING:
    from subprocess import Popen

DEFAULT_PORT: Final = 5_005

_START_SECONDS: Final = 120.0
_STOP_SECONDS: Final = 5.0
_CARRY_SECONDS: Final = 300.0
_POLL_SECONDS: Final = 0.1

_LAST: Final = "startTimeLabel=LAST_30_DAYS"
_FILTERS: Final = {
    "work, without what only reads": "TAG::=::work::atlas.kind",
    "failed calls": "state::=::ERROR",
    "failed runs": "TAG::=::failed::atlas.status",
    "slower than 30 s": "execution_duration::>::30000",
    "team tasks": "trace_name::=::run_team_task",
    "chats": "trace_name::=::chat_with_agent",
}
"""What MLflow's list of traces is filtered by, as its page writes it into its address: column, operator, value, key."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Page:
    """A page that can be opened. `process` is the server behind it if it is ours; it ends with `serve_page`."""

    address: str
    experiment_id: str
    process: Popen[bytes] | None = None

    @property
    def traces_url(self) -> str:
        """The list of this home's traces."""
        return f"{self.address}/#/experiments/{self.experiment_id}/traces"

    @property
    def views(self) -> dict[str, str]:
        """Addresses of the list with a filter, and of the other pages, by what they show."""
        base = f"{self.address}/#/experiments/{self.experiment_id}"
        lists = {name: f"{self.traces_url}?{_LAST}&{urlencode({'filter': one})}" for name, one in _FILTERS.items()}
        return lists | {"task runs": f"{base}/runs", "charts": f"{base}/overview", "prompts": f"{base}/prompts"}

    def trace_url(self, trace_id: str) -> str:
        """One trace, by the id that `current_trace_id` gives."""
        return trace_url(self.address, self.experiment_id, trace_id)

    def wait(self) -> None:
        """Return when the server ends by itself; at once when it is not ours."""
        if self.process:
            self.process.wait()


def trace_url(address: str, experiment_id: str, trace_id: str) -> str:
    """Where MLflow's page at `address` shows a trace."""
    return f"{address.rstrip('/')}/#/experiments/{experiment_id}/traces?selectedEvaluationId={trace_id}"


def known_trace_url(home: Path, destination: Destination, trace_id: str) -> str | None:
    """The trace's address on the configured server; None where a page must be started first, or nothing arrived yet."""
    experiment_id = load_state(home / "spool").experiment_id
    if destination.kind != "server" or not destination.tracking_uri or not experiment_id:
        return None
    return trace_url(destination.shown, experiment_id, trace_id)


@contextmanager
def serve_page(
    home: Path, *, destination: Destination | None = None, host: str = "127.0.0.1", port: int = DEFAULT_PORT
) -> Generator[Page]:
    """MLflow's page with everything traced so far. `port` 0 takes a free one.

    Raises PortInUse, ConfigurationError for a port that cannot be had, and Unavailable when MLflow cannot be reached or
    does not start (the log in `logs/` says why).
    """
    destination = destination or Destination()
    if destination.kind != "server":
        _usable_port(host, port)
    experiment_id = carry_now(home, destination)
    if destination.kind == "server":
        yield Page(destination.shown.rstrip("/"), experiment_id)
        return
    port = port or _usable_port(host, 0)  # as late as can be: who takes long to begin may find it taken
    child = _start_server(home, destination, host, port)
    try:
        address = f"http://{_for_url(host)}:{port}"
        _wait_until_served(address, child)
        yield Page(address, experiment_id, child)
    finally:
        _stop(child)


def carry_now(home: Path, destination: Destination) -> str:
    """Take all that waits to its destination and return the experiment's id. Raises Unavailable."""
    deadline = time.monotonic() + _CARRY_SECONDS
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    while time.monotonic() < deadline:
        if not Locks(home / "locks").is_held(LOCK):
            start_ingest(home, destination, "--once").wait(max(1.0, deadline - time.monotonic()))
        state = load_state(home / "spool")
        if state.error:
            raise Unavailable(
                f"MLflow does not take the traces: {state.error}.", next_step=f"See {open_log(home)}, then try again."
            )
        if state.experiment_id and not anything_waits(home / "spool"):
            return state.experiment_id
        time.sleep(_POLL_SECONDS)
    raise Unavailable("traces are still being taken to MLflow.", next_step="Try again in a minute.")


def _start_server(home: Path, destination: Destination, host: str, port: int) -> Popen[bytes]:
    options = {
        "--artifacts-destination": (home / "artifacts").absolute().as_uri(),
        "--host": host,
        "--port": str(port),
        "--workers": "1",
    }
    words = [word for option in options.items() for word in option]
    with open_log(home).open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - our own interpreter, MLflow's command
            [sys.executable, "-P", "-m", "mlflow", "server", *words],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home,
            # Not an argument: everybody on the machine may read those, and a database's URL may hold its password.
            env={**child_environment(), "MLFLOW_BACKEND_STORE_URI": destination.database_url(home)},
        )


def _wait_until_served(address: str, child: Popen[bytes]) -> None:
    import httpx

    deadline = time.monotonic() + _START_SECONDS
    with httpx.Client(timeout=2.0, trust_env=False) as client:
        while time.monotonic() < deadline and child.poll() is None:
            try:
                if client.get(f"{address}/health").status_code == 200:
                    return
            except httpx.HTTPError:
                time.sleep(_POLL_SECONDS)
    raise Unavailable("MLflow's page did not start.", next_step="See logs/ingest.log in the home folder.")


def _stop(child: Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def _usable_port(host: str, port: int) -> int:
    """The port itself if it can be had, or a free one for 0. Raises PortInUse, or ConfigurationError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OverflowError:
            raise ConfigurationError(f"{port} is not a port.", argument="--port", next_step="Use 0 to 65535.") from None
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise PortInUse(host, port) from None
            raise ConfigurationError(
                f"cannot listen on {host}:{port}: {error.strerror}.",
                argument="--port",
                next_step="Choose another port.",
            ) from None
        return int(probe.getsockname()[1])


def _for_url(host: str) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - what is told, not what is bound
    return f"[{host}]" if ":" in host else host
