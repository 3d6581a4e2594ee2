"""What a host's calls leave in MLflow: one whole trace for each call, with everything that was done for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from atlas_mcp.watch.spool import anything_waits
from tests.main_job.hosts import ended, host, until_event

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(400)]


@dataclass(frozen=True)
class Seen:
    """A trace as MLflow's database has it."""

    name: str
    state: str
    tokens: int
    session: str | None
    spans: list[Any]

    def types(self) -> Counter[str]:
        """How many spans of each type there are."""
        return Counter(span.span_type for span in self.spans)


def carry(home: Path) -> None:
    """Carry the spool to MLflow's database; a carrier that the server started may be at it, and then does it."""
    ingest = [sys.executable, "-P", "-m", "atlas_mcp.watch.ingest", str(home), "--once"]
    while anything_waits(home / "spool"):
        subprocess.run(ingest, input="", text=True, check=True, timeout=120, env=dict(os.environ), capture_output=True)


def found(home: Path, only: str | None = None) -> list[Seen]:
    """The traces that MLflow's filter `only` finds in its database."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{home / 'mlflow.db'}")
    experiments = [e.experiment_id for e in client.search_experiments()]
    return [
        Seen(
            trace.info.tags["mlflow.traceName"],
            str(trace.info.state.value),
            json.loads(trace.info.trace_metadata.get("mlflow.trace.tokenUsage", "{}")).get("total_tokens", 0),
            trace.info.trace_metadata.get("mlflow.trace.session"),
            trace.data.spans,
        )
        for trace in client.search_traces(locations=experiments, filter_string=only, max_results=100)
    ]


async def test_each_call_is_one_whole_trace_with_agents_models_tools_and_memory(home: Path) -> None:
    text = "Tea is grown in Assam. It came to Europe in 1610.\n\n" * 200
    async with host(home) as server:
        reply = await server.call("chat_with_agent", agent="librarian", message="Please remember: my name is Ada.")
        assert reply["memory_changes"]
        await server.call("update_agent_memory", agent="librarian", label="human", append="Likes tea.")
        begun = await server.call(
            "run_team_task", goal="Where is tea grown?", materials=[{"name": "tea", "text": text}]
        )
        run = await ended(server, begun["run_id"])
        assert run["status"] == "completed", run["error"]
        result = await server.client.call_tool("chat_with_agent", {"agent": "nobody", "message": "x"})
        assert result.is_error
        assert "get_status" in {tool.name for tool in (await server.client.list_tools()).tools}
    await anyio.to_thread.run_sync(carry, home)
    traces = [trace for trace in found(home) if trace.name != "get_run"]
    by_name = {(t.name, t.state): t for t in traces}
    assert sorted(by_name) == [
        ("chat_with_agent", "ERROR"),
        ("chat_with_agent", "OK"),
        ("run_team_task", "OK"),
        ("update_agent_memory", "OK"),
    ]
    for trace in traces:
        ids = {span.span_id for span in trace.spans}
        roots = [span for span in trace.spans if not span.parent_id]
        assert [span.name for span in roots] == [trace.name]
        assert {span.parent_id for span in trace.spans if span.parent_id} <= ids, "no span hangs in the air"
        assert all(span.status.status_code.value in ("OK", "ERROR") for span in trace.spans)
    chat = by_name["chat_with_agent", "OK"]
    assert chat.types() >= Counter(AGENT=1, CHAT_MODEL=2, TOOL=2, MEMORY=1, WORKFLOW=1)
    assert chat.tokens > 0
    assert chat.session == reply["conversation"]
    assert reply["trace_id"] == chat.spans[0].trace_id
    assert by_name["update_agent_memory", "OK"].types() == Counter(TOOL=1, MEMORY=1)
    task = by_name["run_team_task", "OK"]
    assert task.types() >= Counter(TASK=5, AGENT=8, CHAT_MODEL=8, TOOL=3, WORKFLOW=2)
    assert run["trace_id"] == task.spans[0].trace_id


async def test_what_became_of_a_long_task_is_found_in_mlflow_and_polling_can_be_left_out(home: Path) -> None:
    async with host(home, ATLAS_OFFLINE_DELAY="2") as server:
        run = await server.call("run_team_task", goal="Where is tea grown?", wait_seconds=0)
        await until_event(server, run["run_id"], "turn_started")
        assert (await server.call("cancel_run", run_id=run["run_id"]))["status"] == "cancelled"
    await anyio.to_thread.run_sync(carry, home)
    cancelled = found(home, "tags.`atlas.status` = 'cancelled'")
    assert [trace.name for trace in cancelled] == ["run_team_task"]
    work = found(home, "tags.`atlas.kind` = 'work'")
    assert {trace.name for trace in work} == {"run_team_task", "cancel_run"}
    read = found(home, "tags.`atlas.kind` = 'read'")
    assert {trace.name for trace in read} == {"get_run"}
