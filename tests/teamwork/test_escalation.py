"""What becomes of work whose worker fails: each level decides, in order, and nobody else's work is lost by it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.errors import BudgetSpent, LettaUnavailable, ModelFailed, Waiting
from atlas_mcp.model.sections import sections
from atlas_mcp.watch.spool import read, waiting
from atlas_mcp.watch.tracing import open_tracing
from tests.teamwork.scripted_agents import MemoryRun, ScriptedAgents, do, found, give, plan, task

pytestmark = pytest.mark.anyio

ANOTHER, WITHOUT, ASK = "another", "without", "ask"


def decide(action: str, worker: str = "") -> dict[str, Any]:
    return {"action": action, "worker": worker, "reason": f"because {action}"}


def only_reader(agents: ScriptedAgents, *failures: Any) -> None:
    """The research is the reader's alone, who fails."""
    agents.on("research_lead", "Delegation", give("reader"))
    agents.on("reader", "Findings", *(failures or (ModelFailed("broken"),)))


def story(run: MemoryRun) -> list[tuple[str, str]]:
    return [(e["type"], e["actor"]) for e in run.events if e["type"] in ("escalated", "decided", "reassigned")]


async def test_a_supervisor_gives_the_work_of_one_that_failed_to_another(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    only_reader(agents)
    agents.on("research_lead", "Decision", decide(ANOTHER, "checker"))
    agents.on("checker", "Findings", found("found by the checker"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert not [m for m in result.missing if m.agent in ("reader", "checker")]
    assert story(run) == [("escalated", "reader"), ("decided", "research_lead"), ("reassigned", "research_lead")]
    assert run.texts("reassigned") == ["research_lead gives reader's assignment to checker"]
    merging = next(p for a, p in agents.prompts if a == "research_lead" and "found by the checker" in p)
    assert [s.attributes["from"] for s in sections(merging, "report")] == ["checker"]
    prompt = next(p for a, p in agents.prompts if a == "research_lead" and 'title="Decision"' in p)
    assert sections(prompt, "workers")[0].body == "checker: does checker"  # reader failed, surfer lacks its tool
    assert "broken" in sections(prompt, "context")[0].body


async def test_who_did_the_work_instead_is_an_author_and_does_not_rate(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    teams = [
        t.model_copy(update={"workers": (*t.workers, "checker")}) if t.name == "rating" else t
        for t in agents.roster.teams
    ]
    agents.roster = agents.roster.model_copy(update={"teams": tuple(teams)})
    only_reader(agents)
    agents.on("research_lead", "Decision", decide(ANOTHER, "checker"))
    result, _ = await do(agents, tmp_path)
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}


async def test_going_on_without_it_is_said_in_the_result_with_all_reasons(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("reader", "Findings", ModelFailed("broken"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert result.evidence  # its sibling's work is kept
    [lost] = [m for m in result.missing if m.agent == "reader"]
    assert lost.why == "broken (then: research_lead decided to go on without it: it goes without)"
    assert story(run) == [("escalated", "reader"), ("decided", "research_lead")]


async def test_a_supervisor_that_asks_hands_the_decision_to_the_global_one_who_may_choose_another_team(
    tmp_path: Path,
) -> None:
    agents = ScriptedAgents()
    only_reader(agents)
    agents.on("research_lead", "Decision", decide(ASK))
    agents.on("chief", "Decision", decide(ANOTHER, "thinker"))
    agents.on("thinker", "Findings", found("found by the thinker"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert story(run) == [
        ("escalated", "reader"), ("decided", "research_lead"),
        ("escalated", "reader"), ("decided", "chief"), ("reassigned", "chief"),
    ]  # fmt: skip
    assert "found by the thinker" in run.artifacts["part/facts/0"]


async def test_a_supervisor_that_cannot_decide_is_passed_over(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    only_reader(agents)
    agents.on("research_lead", "Decision", ModelFailed("down too"))
    agents.on("chief", "Decision", decide(ANOTHER, "checker"))
    result, _ = await do(agents, tmp_path)
    assert result.passed
    assert agents.asked("Findings", "checker") == 1


async def test_a_choice_that_cannot_be_carried_out_is_sent_back_with_those_who_can(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    only_reader(agents)
    agents.on("research_lead", "Decision", decide(ANOTHER, "reader"), decide(ANOTHER, "checker"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert any("'reader' cannot be given this work; these can: checker" in t for t in run.texts("turn_finished"))


async def test_each_level_decides_three_times_at_most(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    names = ["reader", "checker", "thinker", *(f"spare_{n}" for n in range(9))]
    agents.roster = _with_workers(agents, names[3:])
    only_reader(agents)
    agents.on("*", "Findings", ModelFailed("all broken"))

    def next_one(agent: str, prompt: str) -> Any:
        untried = [line.split(":")[0] for line in sections(prompt, "workers")[0].body.splitlines()]
        return decide(ANOTHER, untried[0])

    agents.on("research_lead", "Decision", next_one)
    agents.on("chief", "Decision", next_one)
    agents.on("chief", "Plan", plan(("facts", "research", [])))
    run = MemoryRun()
    with pytest.raises(Waiting):
        await do(agents, tmp_path, run=run)
    assert agents.asked("Decision", "research_lead") == 3
    assert agents.asked("Decision", "chief") == 3
    assert agents.asked("Findings") == 7
    [asking] = run.questions.values()
    assert asking.safe == asking.options[0] == "go on without it"
    assert set(asking.options[1:]) == set(names) - {a for a, t, _ in agents.turns if t == "Findings"}


async def test_the_person_is_asked_last_and_their_choice_does_the_work(tmp_path: Path) -> None:
    agents, run = ScriptedAgents(), MemoryRun()
    agents.on("chief", "Plan", plan(("facts", "research", []), ("sense", "analysis", [])))
    agents.on("research_lead", "Delegation", give("reader"))
    agents.on("reader", "Findings", ModelFailed("broken"))
    agents.on("*", "Decision", decide(ASK))
    with pytest.raises(Waiting):
        await do(agents, tmp_path, run=run)
    assert agents.asked("Findings", "thinker") == 1  # the other team was at work, and its work is done
    before = list(agents.turns)
    [(key, asking)] = run.questions.items()
    assert "reader delivered nothing: broken" in asking.text
    assert asking.options == ("go on without it", "checker", "thinker")
    run.answers[key], run.resumed = "checker", True
    result, _ = await do(agents, tmp_path, run=run)
    assert result.passed
    assert next((a, t) for a, t, _ in agents.turns[len(before) :]) == ("checker", "Findings")
    assert agents.asked("Findings", "reader") == 1
    assert agents.asked("Decision") == 2  # what was decided stands
    assert ("decided", "caller") in story(run)
    assert not [m for m in result.missing if m.agent == "reader"]


async def test_without_an_answer_in_time_it_goes_on_without_it(tmp_path: Path) -> None:
    agents, run = ScriptedAgents(), MemoryRun()
    agents.on("reader", "Findings", ModelFailed("broken"))
    agents.on("*", "Decision", decide(ASK))
    with pytest.raises(Waiting):
        await do(agents, tmp_path, run=run)
    [(key, asking)] = run.questions.items()
    run.answers[key], run.resumed = asking.safe, True
    result, _ = await do(agents, tmp_path, run=run)
    assert result.passed
    assert [m.why for m in result.missing if m.agent == "reader"] == [
        "broken (then: the caller decided to go on without it: the answer to the question what to do)"
    ]


async def test_when_nobody_can_decide_the_work_goes_on_and_no_person_is_bothered(tmp_path: Path) -> None:
    agents, run = ScriptedAgents(), MemoryRun()
    agents.on("reader", "Findings", ModelFailed("broken"))
    agents.on("*", "Decision", ModelFailed("down"))
    result, _ = await do(agents, tmp_path, run=run)
    assert result.passed
    assert run.questions == {}
    assert [m.why for m in result.missing if m.agent == "reader"] == [
        "broken (then: chief could not decide what to do)"
    ]


async def test_only_what_may_pass_is_tried_again_before_it_is_escalated(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    only_reader(agents, LettaUnavailable("Letta does not answer."))
    agents.on("research_lead", "Decision", decide(ANOTHER, "checker"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert agents.asked("Findings", "reader") == 3
    assert len(run.texts("turn_retried")) == 2


async def test_each_step_stands_in_the_trace(home: Path, tmp_path: Path) -> None:
    agents = ScriptedAgents()
    only_reader(agents)
    agents.on("research_lead", "Decision", decide(ASK))
    agents.on("chief", "Decision", decide(ANOTHER, "checker"))
    with open_tracing(home) as tracing:
        await do(agents, tmp_path)
        assert tracing.flush(10)
        rows: list[Any] = [row for file in waiting(home / "spool") for row in read(file.path).spans]
    spans = {row["name"]: row for row in rows}
    assert "checker" in spans["escalate reader"]["attributes"]["mlflow.spanOutputs"]
    assert "because ask" in spans["decision of research_lead"]["attributes"]["mlflow.spanOutputs"]
    assert "because another" in spans["decision of chief"]["attributes"]["mlflow.spanOutputs"]


async def test_a_spent_budget_is_not_escalated(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("reader", "Findings", BudgetSpent("the run may take 3 turns, and has", limit="turns"))
    result, run = await do(agents, tmp_path)
    assert agents.asked("Findings", "reader") == 1
    assert agents.asked("Decision") == 0
    assert story(run) == []
    assert [m.why for m in result.missing if m.agent == "reader"] == ["the run may take 3 turns, and has"]


async def test_a_failing_team_costs_the_others_nothing(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("chief", "Plan", plan(("facts", "research", []), ("sense", "analysis", [])))
    agents.on("thinker", "Findings", ModelFailed("broken"))
    agents.on("analysis_lead", "Decision", ModelFailed("down"))
    agents.on("chief", "Decision", decide(WITHOUT))
    result, _ = await do(agents, tmp_path, task())
    assert result.passed
    assert {"thinker", "analysis"} <= {m.agent for m in result.missing}
    assert result.evidence


def _with_workers(agents: ScriptedAgents, names: list[str]) -> Any:
    one = agents.roster.agent("reader")
    more = tuple(one.model_copy(update={"name": name}) for name in names)
    teams = [
        t.model_copy(update={"workers": (*t.workers, *names)}) if t.name == "research" else t
        for t in agents.roster.teams
    ]
    return agents.roster.model_copy(update={"teams": tuple(teams), "agents": (*agents.roster.agents, *more)})
