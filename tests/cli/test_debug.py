"""One run looked at closely: what its agents were given and did, and where its time and money went."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from io import StringIO
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from rich.console import Console

from atlas_mcp._looking import looked as looked_at
from atlas_mcp.atlas import look_at, open_atlas
from atlas_mcp.cli.debug import show
from atlas_mcp.cli.debug_chart import bar
from atlas_mcp.cli.debug_times import by_agent, critical, on_the_path, spent_in
from atlas_mcp.errors import UnknownRun
from atlas_mcp.model.look import Asked, Look, Step, TurnLook
from atlas_mcp.model.run import ENDED, Event, Run
from atlas_mcp.model.task import Material, TeamTask
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs.closely import Kept, KeptTurn
from atlas_mcp.settings import load_settings
from atlas_mcp.watch.seen_spans import Found, spans_of
from atlas_mcp.watch.spool import anything_waits
from tests.scripted_model import last_user_text
from tests.teamwork.house import good_answer

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scripted_model import Request, ScriptedModel

pytestmark = pytest.mark.timeout(400)

BEGAN = datetime(2026, 3, 1, 12, tzinfo=UTC)


def turn(agent: str, start: float, end: float, *, waited: float = 0.0, steps: tuple[Step, ...] = ()) -> TurnLook:
    return TurnLook(
        turn_id=f"turn-{agent}",
        agent=agent,
        start=start,
        seconds=end - start,
        waited=waited,
        outcome="done",
        usage=Usage(turns=1, input_tokens=100, output_tokens=10, cost_usd=0.25),
        steps=list(steps),
        traced=bool(steps),
    )


def a_look(turns: list[TurnLook], seconds: float, asked: tuple[Asked, ...] = ()) -> Look:
    run = Run(run_id="run_1", status="completed", goal="g", created_at=BEGAN, updated_at=BEGAN)
    return Look(run=run, seconds=seconds, turns=turns, asked=list(asked), charges=[], traces="")


# -- times, worked out by hand


def test_the_critical_path_is_made_of_the_turns_that_the_run_waited_for() -> None:
    plan, quick, slow, write = turn("plan", 0, 2), turn("quick", 2, 3), turn("slow", 2, 8), turn("write", 8, 10)
    assert critical([plan, quick, slow, write], 10) == [plan, slow, write]


def test_the_kinds_of_time_on_the_critical_path_come_to_the_whole_run() -> None:
    thinks = Step(kind="model", name="chat", start=3, seconds=4)
    looks_up = Step(kind="tool", name="search", start=6, seconds=3)  # one second of it while the model answers
    slow = turn("slow", 2, 10, waited=1, steps=(thinks, looks_up))
    asked = Asked(by="slow", text="?", start=9, seconds=4)  # three of them when nobody was at work
    look = a_look([slow, turn("other", 2, 5)], 14, (asked,))
    found = on_the_path(look, critical(look.turns, look.seconds))
    assert found == pytest.approx(
        {
            "model": 4.0,
            "tools": 2.0,
            "waiting to begin": 1.0,
            "a person": 3.0,
            "ATLAS itself": 4.0,
        }
    )
    assert sum(found.values()) == pytest.approx(look.seconds)


def test_a_turn_without_a_trace_is_not_said_to_be_anybodys_time() -> None:
    assert spent_in(turn("w", 1, 4, waited=1)) == {"waiting to begin": 1, "turns without a trace": 2}


def test_what_agents_took_adds_up_to_what_their_turns_took() -> None:
    [w, v] = by_agent([turn("w", 0, 4), turn("w", 4, 5), turn("v", 0, 2)])
    assert (w.agent, w.turns, w.seconds, w.usage.cost_usd) == ("w", 2, 5, 0.5)
    assert (v.agent, v.usage.input_tokens) == ("v", 100)


@pytest.mark.parametrize(("start", "end"), [(0.0, 10.0), (0.0, 0.0), (10.0, 10.0), (9.99, 10.0), (3.0, 5.0)])
def test_a_bar_fills_at_least_one_place_and_never_more_than_there_are(start: float, end: float) -> None:
    drawn = bar(turn("w", start, end, waited=(end - start) / 2), 10, 20)
    assert len(drawn) == 20
    assert "█" in drawn


# -- a real run


def worked(**settings: Any) -> Run:
    async def work() -> Run:
        async with open_atlas(load_settings(**settings)) as atlas:
            task = TeamTask(
                goal="Where is tea grown?",
                materials=(Material(name="tea.txt", text="Tea grows in Assam. It was brought there in 1823."),),
            )
            me = atlas.local_caller()
            run = await atlas.run_team_task(me, task)
            while run.status not in ENDED:  # however slow the machine is
                run = await atlas.get_run(me, run.run_id)
            return run

    run = anyio.run(work)
    assert run.status == "completed", run.error
    return run


def looked(run_id: str) -> Look:
    return anyio.run(look_at, load_settings(), run_id)


def printed(look: Look, width: int) -> str:
    out = StringIO()
    show(look, Console(file=out, width=width, highlight=False), look.run.updated_at + timedelta(hours=1))
    return out.getvalue()


def debug(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "atlas_mcp", "debug", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def test_a_real_run_is_shown_with_its_context_its_steps_its_times_and_its_costs(home: Path) -> None:
    run = worked()
    look = looked(run.run_id)
    assert {one.outcome for one in look.turns} == {"done"}
    assert all(one.traced for one in look.turns)
    assert sum(one.usage.input_tokens for one in look.turns) == run.usage.input_tokens
    assert sum(one.turns for one in look.charges) == run.usage.turns == len(look.turns)

    [worker] = [one for one in look.turns if one.agent == "document_researcher"][:1]
    assert ("goal", "the caller", "Where is tea grown?") in [(p.tag, p.source, p.text) for p in worker.context]
    assert worker.context[0].tag == "system prompt"
    assert worker.context[0].text.startswith("You are document_researcher")
    quoted = next(step for step in worker.steps if step.name == "quote_material")
    assert (quoted.kind, quoted.ok) == ("tool", True)
    assert json.loads(quoted.given)["name"] == "tea.txt"
    assert "Assam" in quoted.gave
    assert worker.start <= quoted.start <= quoted.start + quoted.seconds <= worker.end

    path = critical(look.turns, look.seconds)
    assert path[0].agent == "global_supervisor"
    assert sum(on_the_path(look, path).values()) == pytest.approx(look.seconds, abs=0.1)
    for width in (80, 200):
        text = printed(look, width)
        assert max(map(len, text.splitlines())) <= width
        for said in (
            "Who worked when",
            "quote_material",
            "Where the money went",
            "atlas/offline",
            "waiting to begin",
        ):
            assert said in text, (width, said)
        assert "\x1b" not in text

    told = debug(run.run_id)
    assert told.returncode == 0, told.stderr
    assert "\x1b" not in told.stdout
    one = debug(run.run_id, "--turn", "1")
    assert "Given: goal, from the caller" in one.stdout, one.stderr
    as_json = json.loads(debug(run.run_id, "--json").stdout)
    assert as_json["critical_path"] == [one.turn_id for one in path]
    by_id = json.loads(debug(run.run_id, "--json", "--turn", worker.turn_id).stdout)
    assert by_id["turn"]["reply"] == worker.reply

    for arguments, named in [
        ((run.run_id, "--turn", "999"), "--turn"),
        ((run.run_id, "--turn", "turn-"), "turns begin with"),
        (("run_nothere",), "run_nothere"),
        ((run.run_id, "--http"), run.run_id),
    ]:
        refused = debug(*arguments)
        assert refused.returncode == 2, arguments
        assert named in refused.stderr
        assert refused.stderr.count("\n") == 1

    _carry(home)
    carried = looked(run.run_id)
    assert "MLflow's database" in carried.traces
    assert [one.steps for one in carried.turns] == [one.steps for one in look.turns]

    (home / "mlflow.db").unlink()
    shutil.rmtree(home / "spool")
    bare = looked(run.run_id)
    assert "is not in this home" in bare.traces
    assert not any(one.traced for one in bare.turns)
    assert [one.reply for one in bare.turns] == [one.reply for one in look.turns]
    assert "quote_material" in {step.name for one in bare.turns for step in one.steps}
    assert "turns without a trace" in printed(bare, 80)


def _carry(home: Path) -> None:
    command = [sys.executable, "-m", "atlas_mcp.watch.ingest", str(home), "--once"]
    failed = 0
    while anything_waits(home / "spool"):  # another carrier may be at work, and then has it
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        failed += bool(done.returncode)
        assert failed < 3, done.stderr


def test_a_worker_that_fails_is_shown_with_its_reason_and_with_what_was_decided_then(
    scripted_model: ScriptedModel, monkeypatch: Any
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    monkeypatch.setenv("OPENAI_BASE_URL", scripted_model.url)

    def answered(request: Request) -> dict[str, Any]:
        return {"json": good_answer(last_user_text(request))}

    scripted_model.on('title="Findings"', {"status": 400, "message": "not this time"}, times=1)
    scripted_model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": answered})
    run = worked(model="openai:scripted-1")
    look = looked(run.run_id)
    [failed] = [one for one in look.turns if one.outcome == "failed"]
    assert "not this time" in failed.error
    text = printed(look, 200)
    assert "not this time" in text
    assert "worker_failed" in text
    assert 'title="Decision"' in "".join(last_user_text(request) for request in scripted_model.requests)
    assert any("Decision" in (piece.name for piece in one.context) for one in look.turns)
    assert {one.model for one in look.charges} == {"openai/scripted-1"}
    assert look.charges[0].usd is None
    assert "of unknown price" in text


def test_a_turn_that_was_tried_again_says_why_and_what_it_waited_for() -> None:
    def event(seq: int, seconds: float, type: str, text: str) -> Event:
        return Event(seq=seq, at=BEGAN + timedelta(seconds=seconds), actor="w", type=type, text=text, turn_id="turn-w")

    events = [event(1, 1, "turn_started", "w works"), event(2, 3, "turn_retried", "w is tried again (2 of 3): Letta")]
    run = Run(
        run_id="r",
        status="working",
        goal="g",
        created_at=BEGAN,
        updated_at=BEGAN,
        events=[
            *events,
            late := Event(
                seq=3, at=BEGAN + timedelta(seconds=8), actor="v", type="turn_started", text="v works", turn_id="turn-v"
            ),
        ],
    )
    kept = KeptTurn("turn-w", "w", "do it", "started", None, "", BEGAN + timedelta(seconds=4), None)
    look = looked_at(run, Kept((kept,), (), ()), Found(), {"w": "team"}, BEGAN + timedelta(seconds=10))
    [w, v] = look.turns
    assert (w.retries, w.start, w.waited, w.end, w.outcome) == ([events[1].text], 1, 3, 10, "at work")
    assert (v.agent, v.start, v.waited, v.outcome) == (late.actor, 8, 2, "at work")


def test_of_another_callers_run_nothing_is_shown() -> None:
    run = worked()

    async def look() -> None:
        with pytest.raises(UnknownRun):
            await look_at(load_settings(), run.run_id, http=True)

    anyio.run(look)


def test_a_home_without_traces_has_no_spans_and_no_problem(tmp_path: Path) -> None:
    found = spans_of(tmp_path, ["tr-00000000000000000000000000000000"])
    assert (found.spans, found.problems) == ((), ())
    (tmp_path / "mlflow.db").write_bytes(b"no database" * 1_000)
    assert spans_of(tmp_path, ["tr-00000000000000000000000000000000"]).problems
