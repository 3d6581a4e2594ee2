"""A team task on the real rooms: record, embedded Letta, constellation, engine; also when its process is killed."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from atlas_mcp.errors import ModelFailed
from atlas_mcp.letta.sending import CANCEL_SECONDS
from atlas_mcp.model.sections import sections
from atlas_mcp.model.task import DEFAULT_CRITERIA, Material, TeamTask
from atlas_mcp.models.config import ModelConfig
from tests.scripted_model import ScriptedModel, last_user_text
from tests.teamwork.house import QUOTE, good_answer, open_house, scripted

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("_answers")]
pytest_plugins = ["tests.scripted"]


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    return {"json": good_answer(last_user_text(request))}


@pytest.fixture
def _answers(scripted_model: ScriptedModel) -> None:
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})


async def test_a_task_is_done_by_persistent_agents_with_evidence_and_ratings(
    home: Path, scripted_model: ScriptedModel
) -> None:
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run = await house.ended(await house.submit())
    assert run.status == "completed", run.error
    assert run.result is not None
    assert run.result.passed
    assert [e.quote for e in run.result.evidence] == [QUOTE]
    assert len({r.rater for r in run.result.ratings}) >= 2
    assert run.plan is not None
    assert {m.agent for m in run.result.missing} == {"web_researcher", "academic_researcher"}
    assert run.usage.turns == run.progress.done == scripted_model.calls
    assert run.usage.input_tokens > 0
    types = [e.type for e in run.events]
    story = ["run_started", "planned", "delegated", "part_finished", "drafted", "rated", "run_finished"]
    assert [t for t in dict.fromkeys(types) if t in story] == story


async def test_what_is_kept_of_where_a_task_stands_holds_no_texts_and_goes_with_its_end(
    home: Path, scripted_model: ScriptedModel
) -> None:
    kept: dict[str, str] = {}
    wanted = {"node/plan", "node/delegate:facts"}

    def rated(request: dict[str, Any]) -> dict[str, Any]:  # once it was looked: who follows may lag behind
        return {**_answer(request), "hold": not wanted <= kept.keys()}

    scripted_model.reset()
    scripted_model.on('title="Verdict"', {"call": rated})
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            with closing(sqlite3.connect(home / "atlas.db", isolation_level=None, timeout=60)) as record:
                run_id = await house.submit()
                async for _ in house.runs.follow(run_id):
                    kept |= dict(record.execute("SELECT name, text FROM artifact WHERE passing").fetchall())
                    if wanted <= kept.keys():
                        scripted_model.release()
                left = record.execute("SELECT count(*) FROM artifact WHERE passing").fetchone()
    assert wanted <= kept.keys()
    assert not any(QUOTE in text or "It was lit at dusk" in text for text in kept.values())
    assert left == (0,)


async def test_a_quotation_found_with_tools_stands_in_the_result(home: Path, scripted_model: ScriptedModel) -> None:
    def looks_up(request: dict[str, Any]) -> bool:
        offered = {tool["function"]["name"] for tool in request.get("tools", [])}
        return 'title="Findings"' in last_user_text(request) and "cite_source" in offered

    scripted_model.reset()
    cite = {"tool": "cite_source", "args": {"claim": "bread came too", "source": "log.txt", "quote": "oil and bread"}}
    submit = {"tool": "submit_result", "args": {"result": {"text": "The boat brought oil and bread."}}}
    scripted_model.on(looks_up, [cite, submit, "I have handed it in."])
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run = await house.ended(await house.submit())
    with closing(sqlite3.connect(home / "atlas.db")) as record:
        rows = [row[0] for row in record.execute("SELECT id FROM turn WHERE run_id = ?", (run.run_id,))]
    assert run.status == "completed", run.error
    called = [e for e in run.events if e.type == "tool_called"]
    assert {"cited log.txt", "handed in its result"} <= {e.text.split(" ", 1)[1] for e in called}
    started = {e.turn_id for e in run.events if e.type == "turn_started"}
    assert {e.turn_id for e in called} <= started
    assert started == {e.turn_id for e in run.events if e.type == "turn_finished"} == set(rows)
    merging = [last_user_text(r) for r in scripted_model.requests if "reported. Merge" in last_user_text(r)]
    [report, *_] = sections(merging[0], "report")
    assert json.loads(report.body)["evidence"][0]["quote"] == "oil and bread"


async def test_the_offline_model_does_a_whole_task_with_quotes_that_are_in_the_text(home: Path) -> None:
    text = (Path(__file__).parents[2] / "LICENSE").read_text()
    goal = "What rights does the License grant, and which conditions apply to redistribution?"
    task = TeamTask(goal=goal, materials=(Material(name="LICENSE", text=text),))
    with anyio.fail_after(100):
        async with open_house(home, ModelConfig()) as house:
            run = await house.ended(await house.submit(task))
    assert run.status == "completed", run.error
    assert run.result is not None
    assert run.result.evidence
    assert all(e.quote in text for e in run.result.evidence)
    assert {r.criterion for r in run.result.ratings} == set(DEFAULT_CRITERIA)
    assert len({r.rater for r in run.result.ratings}) >= 2
    assert any("searched the materials" in e.text for e in run.events)
    assert run.progress.done == run.progress.total == run.usage.turns


@contextmanager
def _process(home: Path, model: ScriptedModel, *run_id: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.teamwork.house", str(home), model.url, *run_id]
    root = Path(__file__).parents[2]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=root) as process:
        try:
            yield process
        finally:
            process.kill()


def _events(process: subprocess.Popen[str]) -> Iterator[dict[str, str]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def _killed_while_held(home: Path, model: ScriptedModel, title: str, finished: int) -> str:
    """Do a task until one answer of that kind is held back and so many turns are finished, and kill its process."""
    seen = Counter[str]()

    def first(request: dict[str, Any]) -> bool:
        return f'title="{title}"' in last_user_text(request) and "Merge their findings" not in last_user_text(request)

    model.reset()
    model.on(first, {"call": lambda request: {**_answer(request), "hold": True}}, times=1)
    model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})
    with _process(home, model) as process:
        for event in _events(process):
            seen[event["type"]] += 1
            if seen["turn_finished"] == finished:
                model.wait_for_calls(finished + 1, 60)  # the one that is held back
                return event["run_id"]
    raise AssertionError(f"the process ended early: {seen}")


@pytest.mark.parametrize(
    ("title", "finished"),
    [
        ("Plan", 0),
        ("Findings", 3),  # plan, delegation, and one of two workers
        ("Draft", 6),
        ("Verdict", 9),  # two of three raters
    ],
)
async def test_a_task_whose_process_is_killed_is_finished_by_the_next_without_repeating_a_finished_turn(
    home: Path, scripted_model: ScriptedModel, title: str, finished: int
) -> None:
    if finished:
        run_id = _killed_while_held(home, scripted_model, title, finished)
    else:
        scripted_model.reset()
        scripted_model.hold()
        with _process(home, scripted_model) as process:
            run_id = next(_events(process))["run_id"]
            scripted_model.wait_for_calls(1, 60)
        scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})
    scripted_model.release()
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run = await house.ended(run_id)
    assert run.status == "completed", run.error
    assert run.result is not None
    assert run.result.passed
    assert run.result.evidence
    asked = Counter(json.dumps(r["messages"]) for r in scripted_model.requests)
    assert sorted(asked.values()) == [1] * (len(asked) - 1) + [2]  # only the turn that was cut short
    turns = [e.turn_id for e in run.events if e.type == "turn_finished"]
    assert len(turns) == len(set(turns)) == run.usage.turns


async def test_cancelling_a_run_stops_its_turns_at_once_and_keeps_the_findings(
    home: Path, scripted_model: ScriptedModel
) -> None:
    scripted_model.reset()
    scripted_model.on('title="Draft"', {"call": lambda request: {**_answer(request), "hold": True}})
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": _answer})
    with anyio.fail_after(120):
        async with open_house(home, scripted(scripted_model.url)) as house:
            run_id = await house.submit()
            async for event in house.runs.follow(run_id):
                if event.type == "turn_started" and "writes" in event.text:
                    break
            before = anyio.current_time()
            run = await house.runs.cancel(house.constellation.caller, run_id)
            agents = await house.constellation.list_agents()
            while any(a.busy for a in agents):
                await anyio.sleep(0.02)
                agents = await house.constellation.list_agents()
            assert anyio.current_time() - before < CANCEL_SECONDS, "nothing had to be given up"
    assert run.status == "cancelled"
    assert run.result is not None
    assert run.result.evidence


async def test_a_models_failure_is_told_once_and_names_the_model(home: Path, scripted_model: ScriptedModel) -> None:
    scripted_model.script([{"raw": '{"choices": []}'}])
    async with open_house(home, scripted(scripted_model.url)) as house:
        with pytest.raises(ModelFailed) as failed:
            await house.constellation.take_turn("librarian", "hello", conversation=None, key="one")
    assert str(failed.value).startswith("The model failed. openai:scripted-1: the answer was empty.")
    assert str(failed.value).lower().count("failed") == 1
