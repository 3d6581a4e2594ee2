"""A team task's budget: what it refuses, what is given all the same, and what is told of it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import pytest

from atlas_mcp.atlas import Atlas
from atlas_mcp.errors import UnpricedModel
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.run import Run
from atlas_mcp.model.task import TeamTask
from atlas_mcp.model.tokens import estimate_tokens
from atlas_mcp.watch import limits
from atlas_mcp.watch.estimate import ANSWER, AROUND
from tests.budgets.conftest import MODEL, PRICE, Open, entered
from tests.scripted_model import Request, ScriptedModel, last_user_text, system_text
from tests.teamwork.house import QUOTE, TASK, good_answer

pytestmark = pytest.mark.anyio
SECONDS = 200


async def done(atlas: Atlas, run_id: str) -> Run:
    run, seen = await atlas.get_run(atlas.local_caller(), run_id), 0
    while run.status in {"queued", "working"}:
        seen = max([seen, *(event.seq for event in run.events)])
        run = await atlas.get_run(atlas.local_caller(), run_id, since=seen, wait_seconds=30)
    return await atlas.get_run(atlas.local_caller(), run_id)


async def run_task(atlas: Atlas, task: TeamTask = TASK, **budget: Any) -> Run:
    task = task.model_copy(update={"budget": Budget(**budget)})
    begun = await atlas.run_team_task(atlas.local_caller(), task, wait_seconds=0)
    return await done(atlas, begun.run_id)


def asks_for(title: str, request: Request) -> bool:
    return f'answer_schema title="{title}"' in last_user_text(request)


class ClockFrom:
    """Stands in for the module `time`: a clock that stands still until that agent has a turn, however slow the machine.

    The account of a run begins by the true clock, a little later: so much more time it has.
    """

    def __init__(self, model: ScriptedModel, agent: str) -> None:
        self._model, self._agent = model, agent
        self._still = time.monotonic()
        self._began = 0.0

    def monotonic(self) -> float:
        if not self._began:
            named = f"You are {self._agent}"
            self._began = time.monotonic() if any(named in system_text(r) for r in [*self._model.requests]) else 0.0
        return self._still + (time.monotonic() - self._began if self._began else 0.0)


async def test_what_a_run_cost_stands_in_the_ledger_turn_by_turn(
    opened: Open, model: ScriptedModel, home: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            run = await run_task(atlas)
    assert run.status == "completed", run.error
    turns = entered(home)
    assert len(turns) == run.usage.turns == model.calls
    assert sum(t["turns"] for t in turns) == run.usage.turns
    assert sum(t["tokens"] for t in turns) == run.usage.input_tokens + run.usage.output_tokens
    assert run.usage.cost_usd == pytest.approx(sum(t["tokens"] for t in turns) * PRICE / 1e6)
    assert sum(t["usd"] for t in turns) == pytest.approx(run.usage.cost_usd)
    assert {t["run_id"] for t in turns} == {run.run_id}


@pytest.mark.parametrize(
    ("budget", "said"),
    [({"usd": 0}, "$0.00 allows"), ({"tokens": 0}, "0 tokens"), ({"turns": 0}, "0 turns"), ({"seconds": 0}, "0 sec")],
)
async def test_a_budget_of_zero_spends_nothing_and_says_so_at_once(
    opened: Open, model: ScriptedModel, home: Path, budget: dict[str, Any], said: str
) -> None:
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            run = await run_task(atlas, **budget)
    assert run.status == "failed"
    assert said in str(run.error)
    assert "Set the task again with a larger" in str(run.error)
    assert model.calls == 0
    assert entered(home) == []
    assert run.budget == Budget(**budget)
    assert run.usage.turns == 0


async def test_a_budget_that_ends_in_a_fan_out_gives_what_is_done_and_says_who_was_refused(
    opened: Open, model: ScriptedModel, home: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            run = await run_task(atlas, turns=3)  # the plan, the delegation, and one of the workers
    assert run.status == "completed", run.error
    assert model.calls == run.usage.turns == 3
    assert run.result is not None
    assert [e.quote for e in run.result.evidence] == [QUOTE]
    assert "The lamp was lit at dusk." in run.result.output
    refused = [m for m in run.result.missing if "budget of 3 turns" in m.why]
    assert {"document_researcher", "source_verifier"} & {m.agent for m in refused}
    assert run.result.stopped is not None
    assert run.result.stopped.startswith("The run's budget of 3 turns is spent.")
    assert "Refused:" in run.result.stopped
    assert "larger budget of turns" in run.result.stopped
    assert not run.result.passed
    assert "see result.stopped" in str(run.note)
    assert [e.type for e in run.events].count("budget_spent") == 1
    assert len(entered(home)) == 3


async def test_of_several_rounds_the_best_is_kept_when_the_budget_ends(opened: Open, model: ScriptedModel) -> None:
    def low(request: Request) -> dict[str, Any]:
        given = good(request)
        return {"json": {"scores": [{**score, "score": 2.0, "section": "s1"} for score in given["scores"]]}}

    def good(request: Request) -> dict[str, Any]:
        return good_answer(last_user_text(request))

    model.reset()
    model.on(lambda request: asks_for("Verdict", request), {"call": low})
    model.on(lambda request: "answer_schema title=" in last_user_text(request), {"call": lambda r: {"json": good(r)}})
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            whole = await run_task(atlas, TASK.model_copy(update={"max_rounds": 1}))
            learning = sum(asks_for("Proposals", r) for r in model.requests)
            run = await run_task(atlas, turns=whole.usage.turns - learning)  # the second round gets none
    assert run.status == "completed", run.error
    assert run.result is not None
    assert run.result.best_round == 1
    assert run.result.ratings
    assert {r.score for r in run.result.ratings} == {2.0}
    assert run.result.stopped is not None
    assert "It was lit at dusk." in run.result.output


async def test_a_budget_in_tokens_is_overshot_by_no_more_than_one_turn(opened: Open, model: ScriptedModel) -> None:
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            whole = await run_task(atlas)
            spent = whole.usage.input_tokens + whole.usage.output_tokens
            limit = spent // 2
            run = await run_task(atlas, tokens=limit)
    assert run.result is not None
    assert run.result.stopped is not None
    assert run.usage.input_tokens + run.usage.output_tokens <= limit + spent // whole.usage.turns
    assert "tokens are spent or reserved, and the turn would take about" in run.result.stopped
    assert whole.result is not None
    assert whole.result.stopped is None


async def test_raters_wait_for_what_others_leave_of_their_reservations(
    opened: Open, model: ScriptedModel, home: Path
) -> None:
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            whole = await run_task(atlas)
            likely = [AROUND + ANSWER + estimate_tokens(last_user_text(r)) for r in model.requests]
            raters = [asks_for("Verdict", r) for r in model.requests]
            before = sum(turn["tokens"] for turn in entered(home)[: raters.index(True)])
            room = whole.usage.input_tokens + whole.usage.output_tokens + max(likely) * 21 // 20
            at_once = sum(tokens for tokens, rates in zip(likely, raters, strict=True) if rates)
            assert before + at_once > room, "the raters' reservations were not to fit in at once"
            run = await run_task(atlas, tokens=room)
    assert run.result is not None
    assert run.result.stopped is None
    assert run.usage.turns == whole.usage.turns


async def test_a_budget_that_is_nearly_spent_is_told_once(opened: Open) -> None:
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            run = await run_task(atlas, turns=5)
    warned = [e for e in run.events if e.type == "budget_warning"]
    assert [e.text for e in warned] == [
        "the run's budget of 5 turns is nearly used up: 4 turns with the turn that begins"
    ]


async def test_what_a_failed_turn_took_is_part_of_what_its_run_cost(
    opened: Open, model: ScriptedModel, home: Path
) -> None:
    listing = {"tool": "list_materials", "args": {}}
    model.reset()
    refused = {"status": 400}  # which nobody tries again
    model.on(lambda r: "You are source_verifier" in system_text(r), [listing, refused], times=2)
    model.on(lambda r: True, {"call": lambda r: {"json": good_answer(last_user_text(r))}})
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            run = await run_task(atlas)
    assert run.status == "completed", run.error
    assert "worker_failed" in [e.type for e in run.events]
    turns = [t for t in entered(home) if t["turns"]]
    assert sum(t["tokens"] for t in turns) == run.usage.input_tokens + run.usage.output_tokens
    assert run.usage.turns == len(turns)
    assert run.usage.cost_usd == pytest.approx(sum(t["usd"] for t in turns))


async def test_a_turn_that_outlives_its_run_s_time_is_stopped_and_the_rest_is_given(
    opened: Open, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "OVERTIME", 0.0)
    monkeypatch.setattr(limits, "time", ClockFrom(model, "writing_supervisor"))
    model.reset()
    model.on(lambda r: asks_for("Draft", r), {"text": "late", "hold": True})
    model.on(lambda r: True, {"call": lambda r: {"json": good_answer(last_user_text(r))}})
    with anyio.fail_after(SECONDS):
        async with opened() as atlas:
            run = await run_task(atlas, seconds=4)
            model.release()
    assert run.status == "completed", run.error
    assert run.result is not None
    assert "budget of 4 seconds at work is over" in str(run.result.stopped)
    assert "The lamp was lit at dusk." in run.result.output
    assert sum(asks_for("Draft", r) for r in model.requests) == 1


async def test_dollars_cannot_be_limited_where_the_price_is_not_known(opened: Open, model: ScriptedModel) -> None:
    with anyio.fail_after(SECONDS):
        async with opened(priced=False) as atlas:
            me = atlas.local_caller()
            with pytest.raises(UnpricedModel, match=r"budget_usd.*Set budget_tokens instead") as refused:
                await atlas.run_team_task(me, TASK.model_copy(update={"budget": Budget(usd=1)}))
            run = await run_task(atlas, tokens=100)
            assert (await atlas.list_runs(me))[0] == [run.model_copy(update={"events": [], "note": run.note})]
            status = await atlas.status(me)
    assert f'[prices."{MODEL}"]' in str(refused.value)
    assert model.calls == 0
    assert run.status == "failed"
    assert f"What {MODEL} costs is not known: its turns are counted in tokens only." in status.notes
