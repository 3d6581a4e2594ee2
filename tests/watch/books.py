"""What MLflow's own client finds of runs, feedback and prompts, in a process that is not the one under test."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from atlas_mcp.watch.sidecar import child_environment

_READ = """
import json, sys, mlflow
from mlflow import MlflowClient
client = MlflowClient(sys.argv[1])
experiment = client.get_experiment_by_name(sys.argv[2]).experiment_id
runs = client.search_runs([experiment], max_results=1000)
traces = client.search_traces(locations=[experiment], include_spans=False)
read = lambda run, file: open(client.download_artifacts(run.info.run_id, file)).read()
def in_use(name):
    try:
        return client.get_prompt_version_by_alias(name, "production").template
    except mlflow.MlflowException:
        return None
print(json.dumps({
    "runs": [
        {
            "id": r.info.run_id, "name": r.info.run_name, "status": r.info.status, "params": r.data.params,
            "began": r.info.start_time, "ended": r.info.end_time, "metrics": r.data.metrics, "tags": r.data.tags,
            "files": {f.path: read(r, f.path) for f in client.list_artifacts(r.info.run_id)},
            "history": {m: [[h.step, h.value] for h in client.get_metric_history(r.info.run_id, m)]
                        for m in r.data.metrics},
            "traces": [t.info.trace_id for t in client.search_traces(
                locations=[experiment], run_id=r.info.run_id, include_spans=False)],
        }
        for r in runs
    ],
    "feedback": [[t.info.trace_id, a.name, a.feedback.value, a.rationale, a.source.source_type, a.source.source_id,
                  a.create_time_ms] for t in traces for a in t.info.assessments],
    "prompts": {p.name: [v.template for v in client.search_prompt_versions(p.name)] for p in client.search_prompts()},
    "in use": {p.name: in_use(p.name) for p in client.search_prompts()},
    "asked with": {f"{p.name}/{v.version}": [t.info.trace_id for t in client.search_traces(
        locations=[experiment], filter_string=f"prompt = '{p.name}/{v.version}'", include_spans=False)]
        for p in client.search_prompts() for v in client.search_prompt_versions(p.name)},
}))
"""


def in_mlflow(tracking_uri: str, experiment: str = "ATLAS") -> dict[str, Any]:
    """All of the experiment: its runs, newest first, the feedback on its traces, and the prompts."""
    command = [sys.executable, "-c", _READ, tracking_uri, experiment]
    done = subprocess.run(command, env=child_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
