"""What is found of work arrives in MLflow, on its trace, and is changed there when somebody changes their mind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.atlas import open_atlas
from atlas_mcp.model.feedback import Subject
from atlas_mcp.settings import load_settings
from tests.watch.conftest import carry

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio

_READ = """
import json, sys
from mlflow import MlflowClient
trace = MlflowClient(sys.argv[1]).get_trace(sys.argv[2])
print(json.dumps([[a.name, a.value, a.rationale, a.source.source_type] for a in trace.info.assessments]))
"""


def carried(home: Path) -> None:
    done = carry(home)
    assert done.returncode == 0, done.stderr


def in_mlflow(home: Path, trace: str) -> dict[str, list[Any]]:
    environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", _READ, f"sqlite:///{home / 'mlflow.db'}", trace]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[Any]] = {}
    for name, *rest in json.loads(done.stdout):
        found.setdefault(name, []).append(rest)
    return found


async def test_scores_and_opinions_are_on_the_trace_and_a_new_opinion_takes_the_place_of_the_old(home: Path) -> None:
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        reply = await atlas.chat(me, "librarian", "What is in the library?")
        assert reply.trace_id is not None
        subject = Subject(trace_id=reply.trace_id)
        await atlas.feedback.give(me, subject, good=True, comment="at first sight")
        await atlas.list_runs(me)
    carried(home)
    before = in_mlflow(home, reply.trace_id)
    assert before["user_feedback"] == [[True, "at first sight", "HUMAN"]]
    assert [source for _, _, source in before["answered"]] == ["CODE"]
    async with open_atlas(load_settings()) as atlas:
        await atlas.feedback.give(me, subject, good=False, comment="it was empty")
    carried(home)
    after = in_mlflow(home, reply.trace_id)
    assert after["user_feedback"] == [[False, "it was empty", "HUMAN"]]
    assert after["answered"] == before["answered"]
