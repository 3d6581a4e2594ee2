"""Reads traces back through MLflow's own client, in a process that is not the one under test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.spool import anything_waits
from atlas_mcp.watch.state import IngestState, save_state

_READ = """
import json, sys
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name("ATLAS")
token, found = None, []
while True:
    page = client.search_traces(locations=[experiment.experiment_id], max_results=500, page_token=token)
    found += page
    token = page.token
    if not token:
        break
print(json.dumps([
    {
        "id": t.info.trace_id, "name": t.info.tags.get("mlflow.traceName"), "state": t.info.state.value,
        "tags": dict(t.info.tags), "metadata": dict(t.info.trace_metadata), "preview": t.info.request_preview,
        "spans": [{"name": s.name, "type": s.span_type, "status": s.status.status_code.value,
                   "said": s.status.description, "inputs": s.inputs, "outputs": s.outputs,
                   "id": s.span_id, "parent": s.parent_id, "start": s.start_time_ns, "end": s.end_time_ns,
                   "attributes": {k: v for k, v in s.attributes.items() if not k.startswith("mlflow.span")},
                   "links": [link.trace_id for link in s.links or ()]} for s in t.data.spans],
    }
    for t in found
]))
"""


@pytest.fixture
def stored_traces() -> Callable[[str], list[dict[str, Any]]]:
    """All traces of the experiment ATLAS at a tracking URI, as MLflow gives them."""

    def read(tracking_uri: str) -> list[dict[str, Any]]:
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        command = [sys.executable, "-c", _READ, tracking_uri]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return read


@pytest.fixture
def ingest() -> Callable[..., subprocess.CompletedProcess[str]]:
    """See `carry`."""
    return carry


def carry(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the carrier on a home until nothing waits, also where one that the home started itself is at work: then the
    one that is run ends at once, and the other may not have carried all, nor said what it carried."""
    command = [sys.executable, "-m", "atlas_mcp.watch.ingest", str(home), "--once", *arguments]
    deadline = time.monotonic() + 200
    while True:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode or not (anything_waits(home / "spool") or at_work(home)):
            return done
        assert time.monotonic() < deadline
        while at_work(home):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def at_work(home: Path) -> bool:
    """Whether a carrier works on the home's spool."""
    return Locks(home / "locks").is_held(Destination.lock)


@contextmanager
def no_carrier_of_its_own(home: Path) -> Generator[None]:
    """Keep the home from starting carriers, by being the one: they stay for a while, and `ingest` would wait for it."""
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    held = Locks(home / "locks").try_hold(Destination.lock)
    assert held is not None
    with held:
        yield


@pytest.fixture
def _uncarried(home: Path) -> None:
    """Nobody takes anything out of the home's spool by himself: MLflow is said to have failed just now."""
    (home / "spool").mkdir(mode=0o700, parents=True)
    save_state(home / "spool", IngestState(retry_at=time.time() + 3_600))


@pytest.fixture(scope="session")
def _made_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("made")
    subprocess.run([sys.executable, "-m", "atlas_mcp.watch.ingest", str(home), "--once"], check=True)
    return home / "mlflow.db"


@pytest.fixture
def ready_home(home: Path, _made_database: Path) -> Path:
    """A home whose MLflow database is made already, which takes seconds."""
    home.mkdir()
    shutil.copy(_made_database, home / "mlflow.db")
    return home


@pytest.fixture
def database(home: Path) -> str:
    """The URL of the home's own MLflow database."""
    return f"sqlite:///{home / 'mlflow.db'}"
