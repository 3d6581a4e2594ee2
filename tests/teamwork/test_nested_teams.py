"""Teams of a team: its supervisor gives them work as it gives work to its workers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.errors import ModelFailed, RunLost
from atlas_mcp.model.agent import AgentSpec, TeamSpec
from atlas_mcp.model.sections import sections
from tests.teamwork.scripted_agents import ROSTER, MemoryRun, ScriptedAgents, do, found, give, plan

pytestmark = pytest.mark.anyio


def _agent(name: str, team: str, role: Any = "worker") -> AgentSpec:
    return AgentSpec(name=name, role=role, description=f"does {name}", persona=name, team=team)


def nested() -> ScriptedAgents:
    """research has fact_checking, which has archives."""
    added = (
        _agent("check_lead", "fact_checking", "supervisor"),
        _agent("prover", "fact_checking"),
        _agent("archive_lead", "archives", "supervisor"),
        _agent("digger", "archives"),
    )
    research = ROSTER.team("research").model_copy(update={"teams": ("fact_checking",)})
    teams = (
        research,
        *(t for t in ROSTER.teams if t.name != "research"),
        TeamSpec(
            name="fact_checking", purpose="proves", supervisor="check_lead", workers=("prover",), teams=("archives",)
        ),
        TeamSpec(name="archives", purpose="digs", supervisor="archive_lead", workers=("digger",)),
    )
    agents = ScriptedAgents(ROSTER.model_copy(update={"agents": (*ROSTER.agents, *added), "teams": teams}))
    agents.on("chief", "Plan", plan(("facts", "research", [])))
    return agents


async def test_a_team_of_a_team_works_as_one_and_its_report_is_merged_with_the_workers(tmp_path: Path) -> None:
    agents = nested()
    agents.on("archive_lead", "Findings", found("the archives say dusk"))
    agents.on("check_lead", "Findings", found("proven: dusk"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    worked = [a for a, title, _ in agents.turns if title == "Findings"]
    assert set(worked) == {"reader", "checker", "prover", "digger", "archive_lead", "check_lead", "research_lead"}
    assert worked[-3:] == ["archive_lead", "check_lead", "research_lead"]
    merging = next(p for a, p in agents.prompts if a == "research_lead" and sections(p, "report"))
    reports = {s.attributes["from"]: s.body for s in sections(merging, "report")}
    assert set(reports) == {"reader", "checker", "fact_checking"}
    assert "proven: dusk" in reports["fact_checking"]
    inner = next(p for a, p in agents.prompts if a == "check_lead" and sections(p, "report"))
    assert {s.attributes["from"] for s in sections(inner, "report")} == {"prover", "archives"}
    assert run.progress[-1][0] == run.progress[-1][1] == run.usage.turns


async def test_the_planner_sees_only_the_team_that_stands_by_itself(tmp_path: Path) -> None:
    agents = nested()
    await do(agents, tmp_path)
    teams = sections(agents.prompts[0][1], "teams")[0].body.splitlines()
    assert [line.split(" ")[0] for line in teams] == ["research", "analysis", "market", "writing", "rating"]
    assert "has a team of its own: fact_checking, which proves" in teams[0]
    delegating = next(p for a, p in agents.prompts if a == "research_lead")
    assert "fact_checking: a team, which proves" in sections(delegating, "workers")[0].body
    own = next(p for a, p in agents.prompts if a == "check_lead")
    assert "find for fact_checking" in sections(own, "task")[0].body


async def test_a_team_of_a_team_that_delivers_nothing_costs_the_others_nothing(tmp_path: Path) -> None:
    agents = nested()
    for who in ("prover", "digger"):
        agents.on(who, "Findings", ModelFailed("away"))
    result, _ = await do(agents, tmp_path)
    assert result.passed
    lost = {m.agent for m in result.missing}
    assert {"fact_checking", "archives"} <= lost
    merging = next(p for a, p in agents.prompts if a == "research_lead" and sections(p, "report"))
    assert {s.attributes["from"] for s in sections(merging, "report")} == {"reader", "checker"}
    assert "fact_checking" in sections(merging, "context")[0].body


async def test_the_authors_of_inner_teams_do_not_rate(tmp_path: Path) -> None:
    agents = nested()
    agents.on("research_lead", "Delegation", give("fact_checking"))
    result, _ = await do(agents, tmp_path)
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}
    assert agents.asked("Findings", "reader") == 0


async def test_a_task_that_dies_in_an_inner_team_goes_on_without_repeating_a_turn(tmp_path: Path) -> None:
    agents, run, died = nested(), MemoryRun(), False

    async def die(agent: str, title: str) -> None:
        nonlocal died
        if agent == "archive_lead" and title == "Findings" and not died:
            died = True
            raise RunLost(run.run_id)

    agents.pause = die
    with pytest.raises(RunLost):
        await do(agents, tmp_path, run=run)
    run.resumed = True
    result, _ = await do(agents, tmp_path, run=run)
    assert result.passed
    assert agents.asked("Findings", "digger") == agents.asked("Delegation", "check_lead") == 1
