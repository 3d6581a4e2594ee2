"""Reads traces back through MLflow's own client, in a process that is not the one under test."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    """Run the carrier on a home until nothing waits."""

    def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "atlas_mcp.watch.ingest", str(home), "--once", *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


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
