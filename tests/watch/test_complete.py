"""What a host's calls leave in MLflow, read back through MLflow: all that was done, in one trace for each call."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from pydantic import SecretStr

from atlas_mcp.constellation.names import turn_lock
from atlas_mcp.errors import ModelFailed
from atlas_mcp.models.chat import Models
from atlas_mcp.models.config import ModelConfig
from atlas_mcp.watch.calls import TRACE_META
from atlas_mcp.watch.spans import span
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import Tracing, open_tracing
from tests.constellation.conftest import open_world, open_world_over_http
from tests.main_job.hosts import DEADLINE, Host, ended, host, until_event
from tests.scripted_model import ScriptedModel
from tests.teamwork.scripted_agents import ScriptedAgents, do, found, give
from tests.watch.conftest import no_carrier_of_its_own

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]

Stored = Callable[[str], list[dict[str, Any]]]
Ingest = Callable[..., subprocess.CompletedProcess[str]]

AT_WORK = ("queued", "working")
TEXT = "Tea is grown in Assam. It came to Europe in 1610.\n\n" * 20
SECRET = "hunter2-very-secret-value"


async def stored_in(home: Path, ingest: Ingest, stored_traces: Stored) -> list[dict[str, Any]]:
    done = await anyio.to_thread.run_sync(ingest, home)
    assert done.returncode == 0, done.stderr
    return await anyio.to_thread.run_sync(stored_traces, f"sqlite:///{home / 'mlflow.db'}")


def rows(tracing: Tracing) -> list[dict[str, Any]]:
    assert tracing.flush(60)
    return [dict(row) for file in waiting(tracing.home / "spool") for row in read(file.path).spans]


def shown(trace: dict[str, Any], *names: str) -> list[dict[str, Any]]:
    return [one for one in trace["spans"] if one["name"].startswith(names)]


def until_spooled(home: Path, name: bytes) -> None:
    deadline = time.monotonic() + 120
    while not any(name in file.path.read_bytes() for file in waiting(home / "spool")):
        assert time.monotonic() < deadline
        time.sleep(0.02)


async def a_days_calls(server: Host) -> dict[str, dict[str, Any]]:
    """A chat, a talk, shared and searched knowledge, a rating, and a task that asks before it works."""
    done = {
        "chat": await server.call("chat_with_agent", agent="librarian", message="Please remember: my name is Ada."),
        "talk": await server.call("chat_with_group", group="sounding_board", message="Is tea good?"),
        "share": await server.call("share_knowledge", name="Tea", text=TEXT),
        "search": await server.call("search_memory", query="tea"),
        "rating": await server.call("rate_text", text="Tea is good. " * 30),
    }
    task = {"goal": "Where is tea grown?", "materials": [{"name": "tea", "text": TEXT}], "approve_plan": True}
    asked = await server.call("run_team_task", **task, wait_seconds=40)
    with anyio.fail_after(DEADLINE):
        while (now := await server.call("get_run", run_id=asked["run_id"], wait_seconds=0))["status"] in AT_WORK:
            pass
    assert now["status"] == "awaiting_answer", now
    await server.call("answer_run", run_id=asked["run_id"], answer="approve")
    return {**done, "asked": asked, "task": await ended(server, asked["run_id"])}


async def test_calls_agents_models_tools_memory_ratings_and_questions_are_all_in_the_traces(
    ready_home: Path, ingest: Ingest, stored_traces: Stored
) -> None:
    with no_carrier_of_its_own(ready_home):
        async with host(ready_home) as server:
            done = await a_days_calls(server)
    traces = await stored_in(ready_home, ingest, stored_traces)
    by_id = {trace["id"]: trace for trace in traces}
    for trace in traces:
        ids = {one["id"] for one in trace["spans"]}
        assert [one["name"] for one in trace["spans"] if not one["parent"]] == [trace["name"]]
        assert {one["parent"] for one in trace["spans"] if one["parent"]} <= ids, "no span hangs in the air"
        assert [one for one in trace["spans"] if one["status"] != "OK"] == []
        assert trace["metadata"]["mlflow.trace.user"].startswith("user-")

    chat = by_id[done["chat"]["trace_id"]]
    assert Counter(one["type"] for one in chat["spans"]) >= Counter(AGENT=2, CHAT_MODEL=2, TOOL=2, MEMORY=1)
    assert chat["metadata"]["mlflow.trace.session"] == done["chat"]["conversation"]
    [turn] = shown(chat, "turn librarian")
    assert turn["attributes"]["atlas.agent"] == "librarian"
    assert turn["attributes"]["atlas.model"] == "atlas/offline"
    assert any(name.startswith("persona.librarian/") for name in turn["attributes"]["atlas.prompts"])
    assert chat["tags"]["atlas.run"]
    assert json.loads(chat["metadata"]["mlflow.trace.tokenUsage"])["total_tokens"] > 0

    talk = by_id[done["talk"]["trace_id"]]
    assert talk["metadata"]["mlflow.trace.session"] == done["talk"]["conversation"]
    assert len(shown(talk, "turn ")) >= 2

    [search] = [trace for trace in traces if trace["name"] == "search_memory"]
    stores = {one["attributes"].get("atlas.memory.store") for one in search["spans"]}
    assert stores >= {"record", "sqlite", "graph", "letta"}
    [asked] = shown(search, "search memory")
    assert asked["attributes"]["atlas.memory.hits"] == len(done["search"]["hits"]) > 0
    assert [one["type"] for one in shown(search, "search knowledge")] == ["RETRIEVER"]
    [share] = [trace for trace in traces if trace["name"] == "share_knowledge"]
    assert [one["type"] for one in shown(share, "share knowledge")] == ["MEMORY"]
    assert len(shown(by_id[done["rating"]["trace_id"]], "turn ")) >= 2

    run, task = done["task"], by_id[done["task"]["trace_id"]]
    assert task["name"] == "run_team_task"
    assert task["tags"]["atlas.run"] == run["run_id"]
    assert task["tags"]["atlas.status"] == "completed"
    assert task["metadata"]["mlflow.trace.session"] == run["run_id"]
    assert len(shown(task, "run team_task")) == 2, "until it asked, and from the answer on"
    assert {one["attributes"]["atlas.run"] for one in shown(task, "turn ")} == {run["run_id"]}
    assert {one["attributes"].get("atlas.team") for one in shown(task, "turn ")} >= {"research", "writing", "rating"}
    assert {one["type"] for one in shown(task, "rate ", "judge")} == {"EVALUATOR"}
    first, last = sorted(shown(task, "question of atlas"), key=lambda one: one["start"])
    assert (first["type"], first["outputs"]["waits"]) == ("GUARDRAIL", True)
    assert last["outputs"] == {"answer": "approve", "waits": False}
    [answer] = [trace for trace in traces if trace["name"] == "answer_run"]
    assert run["trace_ids"] == [task["id"], answer["id"]]
    assert answer["tags"]["atlas.run"] == run["run_id"]


async def test_a_run_that_goes_on_in_another_process_stays_in_the_trace_of_its_call(
    ready_home: Path, ingest: Ingest, stored_traces: Stored
) -> None:
    with no_carrier_of_its_own(ready_home):
        async with host(ready_home, ATLAS_OFFLINE_DELAY="0.15") as server:
            run = await server.call("run_team_task", goal="Where is tea grown?", wait_seconds=0)
            await until_event(server, run["run_id"], "turn_finished", times=2)
            await anyio.to_thread.run_sync(until_spooled, ready_home, b'"turn ')
            server.kill()
        async with host(ready_home) as server:
            done = await ended(server, run["run_id"])
    assert done["status"] == "completed", done["error"]
    traces = await stored_in(ready_home, ingest, stored_traces)
    [task] = [trace for trace in traces if trace["name"] == "run_team_task"]
    assert done["trace_ids"] == [done["trace_id"]] == [task["id"]]
    assert {one["attributes"]["atlas.attempt"] for one in shown(task, "run team_task")} == {2}, "the first never ended"
    agents = {event["actor"] for event in done["events"] if event["type"] == "turn_finished"}
    assert {one["attributes"]["atlas.agent"] for one in shown(task, "turn ")} == agents
    assert any(one["attributes"].get("atlas.known") for one in task["spans"]), "what was done before is not done again"


async def test_secrets_and_long_inputs_of_a_call_reach_no_file_of_the_traces(
    ready_home: Path, ingest: Ingest, stored_traces: Stored
) -> None:
    message = f"api_key={SECRET} and Bearer {SECRET}99 and https://u:{SECRET}@host/ and sk-{SECRET}"
    too_long = {"agent": "librarian", "message": "x" * 10_000_000}
    with no_carrier_of_its_own(ready_home):
        async with host(ready_home) as server:
            await server.client.call_tool("chat_with_agent", {"agent": "librarian", "message": message})
            await server.client.call_tool("search_memory", {"query": "x", "password": SECRET})
            refused = await server.client.call_tool("chat_with_agent", too_long)
            assert refused.is_error
            assert (refused.meta or {})[TRACE_META].startswith("tr-")
        spooled = b"".join(file.path.read_bytes() for file in waiting(ready_home / "spool"))
    traces = await stored_in(ready_home, ingest, stored_traces)
    assert [t["state"] for t in sorted(traces, key=lambda t: t["spans"][0]["start"])] == ["OK", "ERROR", "ERROR"]
    with closing(sqlite3.connect(ready_home / "mlflow.db")) as connection:
        kept = "\n".join(connection.iterdump())
    assert SECRET.encode() not in spooled
    assert SECRET not in kept
    assert "[redacted]" in kept
    assert len(kept) < 2_000_000


async def test_a_retry_and_an_escalation_are_spans_with_their_reasons(home: Path, tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("research_lead", "Delegation", give("reader"))
    agents.on("reader", "Findings", ModelFailed("overloaded", transient=True), ModelFailed("broken"))
    agents.on("research_lead", "Decision", {"action": "another", "worker": "checker", "reason": "reader failed"})
    agents.on("checker", "Findings", found("found by the checker"))
    with open_tracing(home) as tracing:
        result, _ = await do(agents, tmp_path)
        assert result.passed
        by_name = {row["name"]: row for row in rows(tracing)}
    retry, escalation, decision = (by_name[n] for n in ("retry reader", "escalate reader", "decision of research_lead"))
    assert "overloaded" in json.loads(retry["attributes"]["mlflow.spanInputs"])["why"]
    assert (retry["status"], retry["said"]) == (2, "ModelFailed: broken")
    assert "broken" in escalation["attributes"]["mlflow.spanInputs"]
    assert json.loads(escalation["attributes"]["mlflow.spanOutputs"]) == {"done_by": "checker"}
    assert decision["parent"] == escalation["span"]
    assert escalation["attributes"]["atlas.team"] == "research"


async def test_a_model_that_stands_in_for_one_that_failed_is_a_span_that_names_both(home: Path) -> None:
    keys = {"OPENAI_API_KEY": SecretStr("sk-test")}
    with ScriptedModel() as model, open_tracing(home) as tracing:
        model.script([{"status": 503, "message": "overloaded"}, {"status": 503, "message": "too busy"}, "good day"])
        models = ("openai:second", "openai:third")
        config = ModelConfig(model="openai:first", fallbacks=models, base_url=model.url, keys=keys, retries=0)
        with span("call"):
            answer = await (await Models(config).chat("openai/first")).ainvoke("hello")
        assert answer.text == "good day"
        by_name = {row["name"]: row for row in rows(tracing)}
    second, third = (by_name[f"fallback openai:{name}"] for name in ("second", "third"))
    assert second["parent"] == third["parent"] == by_name["call"]["span"]
    assert [one["attributes"]["atlas.instead_of"] for one in (second, third)] == ["openai:first", "openai:second"]
    assert (second["status"], third["status"]) == (2, 1), "one failed as well, one answered"
    assert "too busy" in second["said"]


async def test_a_turn_that_waits_for_another_in_its_conversation_shows_for_how_long(home: Path) -> None:
    with open_tracing(home) as tracing:
        async with open_world(home) as world:
            agents = world.of()
            first = await agents.take_turn("librarian", "hello", conversation=None, key="k1")
            world.script.gate = anyio.Event()

            async def turn(key: str) -> None:
                with span(f"call {key}"):
                    await agents.take_turn("librarian", f"hello {key}", conversation=first.conversation, key=key)

            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    group.start_soon(turn, "k2")
                    await world.script.at_gate.wait()
                    group.start_soon(turn, "k3")
                    lock = turn_lock("librarian", first.conversation)
                    while world.locks._queues[lock].wanted < 2:  # noqa: ASYNC110 - nothing tells of one who queues
                        await anyio.sleep(0.001)
                    await anyio.sleep(0.02)  # what is over in some milliseconds is not shown as a wait
                    world.script.gate.set()
        found = rows(tracing)
    by_name = {row["name"]: row for row in found}
    [waited] = [row for row in found if row["name"] == "wait for librarian"]
    assert waited["parent"] == by_name["call k3"]["span"]
    took = (waited["end"] - waited["start"]) / 1e6
    # The span is noted when the wait is over: by so much it may be longer, more so on a busy machine.
    assert -1 < took - float(waited["attributes"]["atlas.waited_ms"]) < 1_000
    assert waited["status"] == 1


@pytest.mark.parametrize("hours", [0, -1, 1])
async def test_the_model_calls_of_a_letta_elsewhere_are_seen_by_its_stream(
    home: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    real = time.time_ns
    asked = '@tool memory_insert {"label": "human", "new_string": "likes tea"}'
    with open_tracing(home) as tracing:
        async with open_world_over_http(home, "the-key") as world:
            assert world.letta.kind == "server"
            with span("call"):
                monkeypatch.setattr(time, "time_ns", lambda: real() + hours * 3_600 * 10**9)
                await world.of().take_turn("librarian", asked, conversation=None, key="k")
        found = rows(tracing)
    [turn] = [row for row in found if row["name"] == "turn librarian"]
    steps = [row for row in found if row["name"] == "chat" and row["parent"] == turn["span"]]
    assert {row["attributes"]["mlflow.spanType"] for row in steps} == {"CHAT_MODEL"}
    assert len({row["attributes"]["letta.step"] for row in steps}) == len(steps) == 2, (
        "the call of the tool, the answer"
    )
    for step in steps:
        assert turn["start"] <= step["start"] <= step["end"] <= turn["end"], "a step out of its turn"
        assert step["status"] == 1


def test_a_clock_that_is_set_meanwhile_neither_turns_a_span_round_nor_takes_it_out_of_its_call(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, jump = time.time_ns, 0
    monkeypatch.setattr(time, "time_ns", lambda: real() + jump)
    with open_tracing(home) as tracing:
        with span("call"):
            for jump in (-3_600 * 10**9, 3_600 * 10**9):
                with span(f"step {jump}"):
                    pass
        by_name = {row["name"]: row for row in rows(tracing)}
    call = by_name.pop("call")
    assert len(by_name) == 2
    for step in by_name.values():
        assert call["start"] <= step["start"] <= step["end"] <= call["end"]
    assert call["end"] - call["start"] < 600 * 10**9


def test_a_text_with_any_line_separator_stays_one_span(home: Path) -> None:
    odd = "one\u2028two\u2029three\x85four\x0bfive\x0csix\r\nseven\x1eeight"
    with open_tracing(home) as tracing:
        with span("odd", inputs=odd):
            pass
        [row] = rows(tracing)
    assert json.loads(row["attributes"]["mlflow.spanInputs"]) == odd
