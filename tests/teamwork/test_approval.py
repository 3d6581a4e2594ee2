"""Plans that are approved, rejected and changed, and supervisors who ask; on the real rooms."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import update

from atlas_mcp.errors import AtlasError, NotApproved, Waiting
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.sections import sections
from atlas_mcp.store import tables
from atlas_mcp.teamwork.approval import MAX_CHANGES
from atlas_mcp.teamwork.heard import MOST_ASKED, NOBODY_ANSWERED, OnlyAsking, pass_on
from tests.scripted_model import ScriptedModel, last_user_text, tool_names
from tests.teamwork.house import ME, TASK, House, good_answer, open_house, scripted
from tests.teamwork.scripted_agents import MemoryRun, ScriptedAgents, do, plan, task

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.model.run import Run

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
pytest_plugins = ["tests.scripted"]
DEADLINE = 100
TO_APPROVE = TASK.model_copy(update={"approve_plan": True})


def answer(request: dict[str, Any]) -> dict[str, Any]:
    return {"json": good_answer(last_user_text(request))}


def asked_for(title: str, first: str = "") -> Any:
    return lambda request: f'title="{title}"' in last_user_text(request) and first in last_user_text(request)


def script(model: ScriptedModel, *rules: tuple[Any, Any]) -> None:
    """Answer by these rules, and everything else decently."""
    for matcher, reply in rules:
        model.on(matcher, reply)
    model.on(lambda request: 'answer_schema title="' in last_user_text(request), {"call": answer})


async def waiting(house: House, run_id: str) -> Run:
    """The run, once it waits for an answer."""
    with anyio.fail_after(DEADLINE):
        since = 0
        while True:
            run = await house.runs.get(ME, run_id, since=since, wait_seconds=5)
            assert run.status in ("queued", "working", "awaiting_answer"), run.error
            if run.status == "awaiting_answer":
                return await house.runs.get(ME, run_id)
            since = run.events[-1].seq if run.events else since


async def ended(house: House, run_id: str) -> Run:
    with anyio.fail_after(DEADLINE):
        return await house.ended(run_id)


async def test_a_plan_is_shown_in_words_and_carried_out_once_it_is_approved(
    home: Path, scripted_model: ScriptedModel
) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit(TO_APPROVE)
        asked = await waiting(house, run_id)
        spent = scripted_model.calls
        await house.runs.answer(ME, run_id, "approve")
        run = await ended(house, run_id)
    assert spent == 1, "nothing is spent before but the planner's turn"
    assert asked.question is not None
    assert asked.question.kind == "approval"
    assert "- facts, by the research team: find out how the light was kept" in asked.question.text
    assert asked.question.options == ("approve", "reject")
    assert run.status == "completed", run.error
    assert run.usage.turns == run.progress.done == scripted_model.calls
    assert [e.text for e in run.events if e.type == "planned"] == [e.text for e in asked.events if e.type == "planned"]


async def test_a_rejected_plan_ends_the_run_with_the_reason_and_costs_no_more(
    home: Path, scripted_model: ScriptedModel
) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit(TO_APPROVE)
        await waiting(house, run_id)
        await house.runs.answer(ME, run_id, "reject")
        run = await ended(house, run_id)
    assert run.status == "failed"
    assert "the plan was not carried out: the caller rejected it" in (run.error or "")
    assert (run.usage.turns, scripted_model.calls) == (1, 1)
    assert run.plan is not None


async def test_a_plan_that_nobody_approves_in_time_is_not_carried_out(
    home: Path, scripted_model: ScriptedModel
) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit(TO_APPROVE)
        await waiting(house, run_id)
        async with house.constellation._record.write() as db:
            await db.execute(update(tables.question).values(deadline=datetime.now(UTC) - timedelta(seconds=1)))
        run = await ended(house, run_id)
    assert run.status == "failed"
    assert "nobody approved it in time" in (run.error or "")
    assert "question_expired" in [e.type for e in run.events]
    assert scripted_model.calls == 1


async def test_words_have_the_plan_made_anew_and_asked_again_also_after_a_restart(
    home: Path, scripted_model: ScriptedModel
) -> None:
    words = "Let the analysis team do it alone."
    anew = {"parts": [{"id": "sense", "team": "analysis", "task": "say what it means"}]}
    script(scripted_model, (asked_for("Plan", words), {"json": anew}))
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit(TO_APPROVE)
        await waiting(house, run_id)
    async with open_house(home, scripted(scripted_model.url)) as house:
        assert (await house.runs.get(ME, run_id)).status == "awaiting_answer"
        await house.runs.answer(ME, run_id, words)
        again = await waiting(house, run_id)
    calls = scripted_model.calls
    async with open_house(home, scripted(scripted_model.url)) as house:
        await house.runs.answer(ME, run_id, "approve")
        run = await ended(house, run_id)
    assert calls == 2
    replanning = next(r for r in scripted_model.requests if words in last_user_text(r))
    assert "find out how the light was kept" in str(replanning["messages"]), "it is shown the plan that it made"
    assert again.question is not None
    assert "made anew" in again.question.text
    assert "by the analysis team" in again.question.text
    assert run.status == "completed", run.error
    assert run.plan is not None
    assert [p.team for p in run.plan.parts] == ["analysis"]
    assert {e.actor for e in run.events if e.type == "part_started"} == {"analysis_supervisor"}


async def test_who_approves_is_told_the_limits_of_the_run(tmp_path: Path) -> None:
    run = MemoryRun()
    with pytest.raises(Waiting):
        await do(ScriptedAgents(), tmp_path, task(approve_plan=True, budget=Budget(usd=2.5, tokens=90_000)), run)
    [asking] = run.questions.values()
    assert "The whole run may take at most $2.50, 90,000 tokens." in asking.text
    assert "- sense, by the analysis team (after facts): do sense" in asking.text


async def test_a_plan_is_changed_so_often_and_no_more(tmp_path: Path) -> None:
    agents, run = ScriptedAgents(), MemoryRun()
    for number in range(MAX_CHANGES):
        with pytest.raises(Waiting):
            await do(agents, tmp_path, task(approve_plan=True), run)
        assert list(run.questions.values())[-1].words
        run.answers[list(run.questions)[-1]] = f"make it better, {number}"
    with pytest.raises(Waiting):
        await do(agents, tmp_path, task(approve_plan=True), run)
    last = list(run.questions)[-1]
    assert run.questions[last].words == ""
    run.answers[last] = "reject"
    with pytest.raises(NotApproved):
        await do(agents, tmp_path, task(approve_plan=True), run)
    assert len(agents.turns) == agents.asked("Plan") == 1 + MAX_CHANGES


async def test_a_task_without_approval_asks_nobody(tmp_path: Path) -> None:
    _, run = await do(ScriptedAgents(), tmp_path)
    assert not run.questions


ASK = {"tool": "ask_caller", "args": {"question": "Which lamp is meant?", "options": ["the old one", "the new one"]}}
SPLITTING = asked_for("Delegation", "find out how the light was kept")
SPLIT = {"json": {"assignments": [{"worker": "document_researcher", "task": "look"}]}}


async def test_a_supervisor_asks_and_merges_with_the_answer_while_its_workers_went_on(
    home: Path, scripted_model: ScriptedModel
) -> None:
    script(scripted_model, (SPLITTING, [ASK, SPLIT]))
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        asked = await waiting(house, run_id)
        merged = [r for r in scripted_model.requests if "Merge their findings" in last_user_text(r)]
        await house.runs.answer(ME, run_id, "the old one")
        run = await ended(house, run_id)
    assert asked.question is not None
    assert (asked.question.asked_by, asked.question.kind) == ("research_supervisor", "choice")
    assert asked.question.options == ("the old one", "the new one")
    finished = [e.actor for e in asked.events if e.type == "turn_finished"]
    assert "document_researcher" in finished, "the work went on while the question was open"
    assert not merged
    [merging] = [last_user_text(r) for r in scripted_model.requests if "Merge their findings" in last_user_text(r)]
    assert "You asked: Which lamp is meant? The answer: the old one" in merging
    assert run.status == "completed", run.error


async def test_an_answer_that_comes_while_the_work_goes_on_stops_nobody(
    home: Path, scripted_model: ScriptedModel
) -> None:
    answered = anyio.Event()
    findings = asked_for("Findings", "You work on one assignment")
    held = (findings, {"call": lambda r: {**answer(r), "hold": not answered.is_set()}})
    script(scripted_model, (SPLITTING, [ASK, SPLIT]), held)
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        with anyio.fail_after(DEADLINE):
            while (run := await house.runs.get(ME, run_id, since=1, wait_seconds=5)).question is None:
                pass
        assert run.status == "working"
        await house.runs.answer(ME, run_id, "the new one")
        answered.set()
        scripted_model.release()
        run = await ended(house, run_id)
    assert run.status == "completed", run.error
    assert "run_resumed" not in [e.type for e in run.events]
    assert any("The answer: the new one" in last_user_text(r) for r in scripted_model.requests)


async def test_the_planner_asks_and_plans_anew_with_the_answer(home: Path, scripted_model: ScriptedModel) -> None:
    one = {"parts": [{"id": "facts", "team": "research", "task": "find out what you can"}]}
    two = {"parts": [{"id": "sense", "team": "analysis", "task": "say what it means"}]}
    anew = (asked_for("Plan", "You asked: Which lamp"), {"json": two})
    script(scripted_model, anew, (asked_for("Plan", "Plan the work"), [ASK, {"json": one}]))
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        asked = await waiting(house, run_id)
        await house.runs.answer(ME, run_id, "the new one")
        run = await ended(house, run_id)
    assert asked.question is not None
    assert asked.question.asked_by == "global_supervisor"
    assert "part_started" not in [e.type for e in asked.events]
    assert run.status == "completed", run.error
    assert run.plan is not None
    assert [p.team for p in run.plan.parts] == ["analysis"]


async def test_only_supervisors_with_a_next_prompt_can_ask(home: Path, scripted_model: ScriptedModel) -> None:
    script(scripted_model)
    async with open_house(home, scripted(scripted_model.url)) as house:
        await ended(house, await house.submit())
    offered: dict[str, set[str]] = {}
    for request in scripted_model.requests:
        title = sections(last_user_text(request), "answer_schema")[-1].attributes["title"]
        place = "merging" if "Merge their findings" in last_user_text(request) else title
        offered.setdefault(place, set()).update(tool_names(request))
    assert "ask_caller" in offered["Plan"]
    assert "ask_caller" in offered["Delegation"]
    assert not any("ask_caller" in offered[place] for place in ("merging", "Findings", "Draft", "Verdict"))
    assert "search_materials" in offered["Findings"]
    assert "search_materials" not in offered["Delegation"], "what a supervisor splits it need not search"


async def test_a_run_asks_three_questions_of_its_agents_and_then_they_decide_themselves(
    home: Path, scripted_model: ScriptedModel
) -> None:
    def ask(number: int) -> dict[str, Any]:
        return {"tool": "ask_caller", "args": {"question": f"Question {number}?"}}

    asks = [ask(n) for n in range(MOST_ASKED + 1)]
    script(scripted_model, (SPLITTING, [*asks, SPLIT]))
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        await waiting(house, run_id)
        for number in range(MOST_ASKED):
            before = await house.runs.get(ME, run_id)
            assert before.question is not None
            assert before.question.text == f"Question {number}?"
            await house.runs.answer(ME, run_id, f"answer {number}")
        run = await ended(house, run_id)
    assert run.status == "completed", run.error
    assert [e.type for e in run.events].count("question_asked") == MOST_ASKED
    told = next(r for r in scripted_model.requests if "more are not allowed" in str(r["messages"]))
    assert "decide yourself" in str(told["messages"])
    [merging] = [last_user_text(r) for r in scripted_model.requests if "Merge their findings" in last_user_text(r)]
    assert [f"answer {n}" in merging for n in range(MOST_ASKED)] == [True] * MOST_ASKED


async def test_without_an_answer_in_time_the_supervisor_goes_on_with_what_it_has(
    home: Path, scripted_model: ScriptedModel
) -> None:
    script(scripted_model, (SPLITTING, [ASK, SPLIT]))
    async with open_house(home, scripted(scripted_model.url)) as house:
        run_id = await house.submit()
        await waiting(house, run_id)
        async with house.constellation._record.write() as db:
            await db.execute(update(tables.question).values(deadline=datetime.now(UTC) - timedelta(seconds=1)))
        run = await ended(house, run_id)
    assert run.status == "completed", run.error
    assert any(NOBODY_ANSWERED in last_user_text(r) for r in scripted_model.requests)


@pytest.mark.parametrize(
    ("question", "options", "why"),
    [("x" * 3000, [], "3,000 characters is too long"), ("Which?", ["this"], "give 2 to 12 short ones, or none")],
)
async def test_a_question_that_cannot_be_put_is_refused_in_words(question: str, options: list[str], why: str) -> None:
    run = MemoryRun()
    with pytest.raises(AtlasError, match=why):
        await pass_on(run, "research_lead", question, options)
    assert not run.questions


async def test_teams_at_work_are_not_cut_off_by_another_teams_question(tmp_path: Path) -> None:
    agents, run = ScriptedAgents(), MemoryRun()
    agents.on("chief", "Plan", plan(("a", "research", []), ("b", "analysis", [])))
    others_done = anyio.Event()

    async def pause(agent: str, title: str) -> None:
        if agent == "thinker":  # at work until the other team has come as far as it can
            await others_done.wait()
        elif agents.asked("Findings", "reader") and agents.asked("Findings", "checker"):
            others_done.set()

    async def ask(agent: str, tools: OnlyAsking) -> None:
        if agent == "research_lead":
            await tools.call("ask_caller", {"question": "Which one?"})

    agents.pause, agents.asks = pause, ask
    with pytest.raises(Waiting):
        await do(agents, tmp_path, run=run)
    assert agents.asked("Findings", "thinker") == 1
    assert agents.asked("Findings", "analysis_lead") == 1, "the other team came to its end"
    assert agents.asked("Findings", "research_lead") == 0
    [key] = run.questions
    run.answers[key], run.resumed = "the first", True
    result, _ = await do(agents, tmp_path, run=run)
    assert result.passed
    assert agents.asked("Findings", "thinker") == 1
    merging = next(p for a, p in agents.prompts if a == "research_lead" and "Merge their findings" in p)
    assert "You asked: Which one? The answer: the first" in merging
