"""A real MLflow server that tests start, stop, freeze and put behind a proxy that answers otherwise."""

from __future__ import annotations

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from atlas_mcp.watch.sidecar import child_environment
from tests.watch.conftest import _made_database, database, ingest, ready_home, stored_traces

__all__ = ["_made_database", "database", "ingest", "ready_home", "stored_traces"]


def wait_until(holds: Callable[[], object], seconds: float = 200) -> None:
    """Return when it holds; fail at the deadline."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)


def _port() -> int:
    """A port that is free and that the system gives to nobody who asks for any: it stays free while MLflow is down."""
    return next(port for port in random.sample(range(20_000, 32_000), 1_000) if _is_free(port))


def _is_free(port: int) -> bool:
    with suppress(OSError), socket.create_server(("127.0.0.1", port)):
        return True
    return False


class MlflowServer:
    """MLflow's own server on one database and one port, also after a restart."""

    def __init__(self, folder: Path, made: Path) -> None:
        shutil.copy(made, folder / "server.db")
        self._folder = folder
        self.port = _port()
        self.address = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, or let it go on; return when it answers."""
        if self._process is None:
            words = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
            words += ["--artifacts-destination", (self._folder / "artifacts").as_uri()]
            with (self._folder / "server.log").open("ab") as log:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "mlflow", "server", *words],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**child_environment(), "MLFLOW_BACKEND_STORE_URI": f"sqlite:///{self._folder / 'server.db'}"},
                    start_new_session=True,
                )
        else:
            self._signal(signal.SIGCONT)
        wait_until(self._answers)

    def freeze(self) -> None:
        """It keeps its port and answers nothing."""
        self._signal(signal.SIGSTOP)

    def stop(self) -> None:
        """End it and all that it started; connections are refused then."""
        if self._process is not None:
            self._signal(signal.SIGCONT)
            self._signal(signal.SIGKILL)
            self._process.wait()
            wait_until(lambda: _is_free(self.port))  # its children may take a moment longer to be gone
            self._process = None

    def spans(self, experiment: str = "ATLAS") -> dict[str, list[str]]:
        """The spans' names of each trace, by its id, as MLflow's client gives them to a process of its own."""
        with httpx.Client(base_url=self.address, trust_env=False, timeout=60) as client:
            found = client.get("/api/2.0/mlflow/experiments/get-by-name", params={"experiment_name": experiment})
            if found.status_code == 404:
                return {}
            place = {"experiment_id": found.raise_for_status().json()["experiment"]["experiment_id"]}
            ids, token = list[str](), None
            while True:
                asked: dict[str, Any] = {
                    "locations": [{"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": place}],
                    "max_results": 500,
                }
                page = client.post(
                    "/api/3.0/mlflow/traces/search", json=asked | ({"page_token": token} if token else {})
                )
                ids += [trace["trace_id"] for trace in page.raise_for_status().json().get("traces", [])]
                if not (token := page.json().get("next_page_token")):
                    return {trace: self._names(client, trace) for trace in ids}

    def _names(self, client: httpx.Client, trace: str) -> list[str]:
        got = client.get("/api/3.0/mlflow/traces/get", params={"trace_id": trace}).raise_for_status().json()
        return sorted(span["name"] for span in got["trace"]["spans"])

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.address}/health", trust_env=False, timeout=5).status_code == 200
        except httpx.HTTPError:
            return False

    def _signal(self, number: int) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, number)


@pytest.fixture(scope="session")
def _mlflow(tmp_path_factory: pytest.TempPathFactory, _made_database: Path) -> Generator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"), _made_database)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def mlflow(_mlflow: MlflowServer) -> Generator[MlflowServer]:
    """The server, at work when the test begins and again when it has ended."""
    _mlflow.start()
    yield _mlflow
    _mlflow.start()


@dataclass
class Answer:
    """What is said next, once `after` is set; without a status what the server says. `passed_on`: it heard it too."""

    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict[str, str])
    after: threading.Event | None = None
    passed_on: bool = False


@dataclass
class Proxy:
    """Stands before the server and says what the test wants said, after so many requests that it `passes`."""

    address: str
    says: Answer
    passes: int = 0
    held: threading.Event = field(default_factory=threading.Event)


@pytest.fixture
def proxy(mlflow: MlflowServer) -> Generator[Proxy]:
    """An address that passes everything on to the server, until it is told to say something else."""

    class Handler(BaseHTTPRequestHandler):
        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            says = made.says
            if made.passes:
                made.passes -= 1
                says = Answer()
            heard = self._pass_on(body) if says.passed_on or says.status is None else None
            if says.after is not None:
                made.held.set()
                says.after.wait(60)
            if says.status is not None:
                self._send(says.status, says.body, says.headers)
            elif heard is not None:
                self._send(heard.status_code, heard.content, {"content-type": heard.headers.get("content-type", "")})

        def _pass_on(self, body: bytes) -> httpx.Response:
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            url = f"{mlflow.address}{self.path}"
            return httpx.request(self.command, url, content=body, headers=headers, trust_env=False, timeout=60)

        def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            try:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                return  # who asked is gone

        do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names that http.server calls

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Proxy(f"http://127.0.0.1:{server.server_port}", Answer())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        if made.says.after is not None:
            made.says.after.set()
        server.shutdown()
