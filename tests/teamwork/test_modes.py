"""Modes of working together: one team alone, and debates with the constellation's agents or the run's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from atlas_mcp.errors import ConfigurationError, ModelFailed, RunLost, UnusableAnswer
from atlas_mcp.model.sections import sections
from tests.teamwork.scripted_agents import QUOTE, MemoryRun, ScriptedAgents, do, found, plan, rate_all, task

pytestmark = pytest.mark.anyio
POINTS = {"points": ["The lamp should be lit at dusk.", "Two keepers are needed."]}
SIDES = (
    {"name": "The Saver", "persona": "I count every drop of oil."},
    {"name": "The Guard", "persona": "I think of the ships."},
)


def debate(*debaters: dict[str, Any], rounds: int = 3) -> dict[str, Any]:
    return {"mode": "debate", "debaters": list(debaters), "rounds": rounds}


def says(text: str, *stands: str) -> dict[str, Any]:
    votes = [{"point": n, "stand": s, "reason": f"{text} {n}"} for n, s in enumerate(stands, 1)]
    return {"text": text, "votes": votes, "evidence": [{"claim": "lit", "source": "log.txt", "quote": QUOTE}]}


def debating(*statements: Any, plan_: Any = None) -> ScriptedAgents:
    agents = ScriptedAgents()
    agents.on("chief", "Plan", plan_ or debate(*SIDES))
    agents.on("chief", "Points", POINTS)
    agents.on("chief", "Findings", found("Both hold that dusk is right."))
    if statements:
        agents.on("*", "Statement", *statements)
    return agents


def voting(stands: dict[str, list[tuple[str, str]]]) -> Any:
    """Each side's votes by round after the first."""
    spoken: dict[str, int] = {}

    def speak(agent: str, prompt: str) -> Any:
        name = prompt.split("You are ", 1)[1].split(" in a debate", 1)[0]
        number = spoken.get(name, 0)
        spoken[name] = number + 1
        return says(f"{name} in round {number + 1}", *(stands[name][number - 1] if number else ()))

    return speak


async def test_one_named_team_works_alone_without_a_planner_and_its_report_is_the_text(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("research_lead", "Findings", found("The lamp was lit at dusk, says the log."))
    result, run = await do(agents, tmp_path, task(mode="team", teams=("research",)))
    assert agents.asked("Plan") == agents.asked("Draft") == agents.asked("Delegation", "writing_lead") == 0
    assert result.output == "The lamp was lit at dusk, says the log."
    assert result.passed
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}
    assert run.plan is not None
    assert run.plan.mode == "team"
    assert {m.agent for m in result.missing} == {"surfer"}  # nobody of another team is missed


async def test_its_supervisor_revises_a_text_that_fell_short(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(3.0, section="s1"), rate_all(3.0, section="s1"), rate_all(4.5))
    agents.on("rater_a", "Verdict", rate_all(3.0, "too short", "s1"), rate_all(4.5))
    agents.on("rater_b", "Verdict", rate_all(3.0, "too short", "s1"), rate_all(4.5))
    agents.on("research_lead", "Draft", {"sections": [{"id": "s1", "text": "At dusk, every day."}]})
    result, _ = await do(agents, tmp_path, task(mode="team", teams=("research",)))
    assert result.output == "At dusk, every day."
    assert (result.rounds, result.best_round, result.passed) == (2, 2, True)
    assert agents.asked("Draft") == agents.asked("Draft", "research_lead") == 1


async def test_without_rounds_nobody_rates_and_nothing_is_said_to_be_unmet_or_missing(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    result, run = await do(agents, tmp_path, task(mode="team", teams=("analysis",), max_rounds=0))
    assert agents.asked("Verdict") == 0
    assert (result.ratings, result.unmet, result.missing, result.passed) == ([], [], [], False)
    assert "nobody rated it" in run.texts("run_finished")[0]


async def test_a_team_that_cannot_work_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="quote_stock"):
        await do(ScriptedAgents(), tmp_path, task(mode="team", teams=("market",)))


async def test_the_planner_may_choose_the_mode_and_the_callers_choice_binds_it(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("chief", "Plan", {**plan(("a", "analysis", [])), "mode": "team"})
    _, run = await do(agents, tmp_path)
    assert run.plan is not None
    assert run.plan.mode == "team"
    two, folder = ScriptedAgents(), tmp_path / "two"
    folder.mkdir()
    with pytest.raises(UnusableAnswer, match="exactly one part, not 2"):
        await do(two, folder, task(mode="team"))
    assert sections(two.prompts[0][1], "mode")[0].body == "team"


async def test_a_debate_ends_as_soon_as_all_agree(tmp_path: Path) -> None:
    both = [("agree", "agree"), ("agree", "agree")]
    agents = debating(voting({"The Saver": both, "The Guard": both}))
    result, run = await do(agents, tmp_path)
    assert result.agreement == 1.0
    assert result.disagreements == []
    assert result.output == "Both hold that dusk is right."
    assert result.passed
    assert agents.asked("Statement") == 4  # two rounds of the three
    assert [e["agreement"] for e in run.events if e["type"] == "agreement"] == [1.0]
    assert [e.quote for e in result.evidence] == [QUOTE]


async def test_what_stays_in_dispute_is_told_with_who_holds_what(tmp_path: Path) -> None:
    agents = debating(
        voting({"The Saver": [("agree", "disagree")] * 2, "The Guard": [("agree", "agree"), ("agree", "undecided")]})
    )
    result, run = await do(agents, tmp_path)
    assert result.agreement == 0.5
    [dispute] = result.disagreements
    assert dispute.startswith("Two keepers are needed.: The Saver disagrees (")
    assert "The Guard is undecided" in dispute
    assert agents.asked("Statement") == 6
    assert [e["agreement"] for e in run.events if e["type"] == "agreement"] == [0.5, 0.5]


async def test_a_debate_in_which_nobody_changes_a_vote_is_over(tmp_path: Path) -> None:
    sides = {"The Saver": [("agree", "disagree")] * 4, "The Guard": [("agree", "agree")] * 4}
    agents = debating(voting(sides), plan_=debate(*SIDES, rounds=5))
    result, run = await do(agents, tmp_path)
    assert agents.asked("Statement") == 6  # three rounds of the five
    assert result.agreement == 0.5
    assert "no vote has changed" in run.texts("agreement")[-1]


async def test_debaters_answer_what_the_others_said_in_their_own_conversation(tmp_path: Path) -> None:
    both = [("agree", "agree")]
    agents = debating(voting({"The Saver": both, "The Guard": both}))
    await do(agents, tmp_path)
    asked = [prompt for agent, prompt in agents.prompts if agent.startswith("the_saver")]
    assert sections(asked[0], "statement") == sections(asked[0], "points") == []
    [heard] = sections(asked[1], "statement")
    assert (heard.attributes["from"], heard.body) == ("The Guard", "The Guard in round 1")
    assert sections(asked[1], "points")[0].body.splitlines()[1] == "2. Two keepers are needed."
    threads = {r.conversation for r in agents.stored.values() if r.agent.startswith("the_saver")}
    assert len(threads) == 1


async def test_agents_of_the_roster_debate_as_themselves_and_do_not_rate(tmp_path: Path) -> None:
    both = [("agree", "agree")]
    agents = debating(
        voting({"reader": both, "thinker": both}), plan_=debate({"name": "reader"}, {"name": "thinker"})
    )  # fmt: skip
    result, _ = await do(agents, tmp_path, task(mode="debate"))
    assert agents.asked("Statement", "reader") == agents.asked("Statement", "thinker") == 2
    assert agents.hosted == []
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}


async def test_agents_of_the_run_alone_are_named_before_they_are_made_and_sent_away_at_its_end(tmp_path: Path) -> None:
    both = [("agree", "agree")]
    agents = debating(voting({"The Saver": both, "The Guard": both}))

    async def look(agent: str, title: str) -> None:
        if title == "Statement":
            assert run.artifacts["guests"] == '["the_saver", "the_guard"]'
            assert agents.dismissed == []

    run, agents.pause = MemoryRun(), look
    await do(agents, tmp_path, run=run)
    assert {guest.role for guest in agents.hosted} == {"guest"}
    assert {guest.pools for guest in agents.hosted} == {()}
    assert agents.dismissed == [("run-1", True)]


@pytest.mark.parametrize(("failure", "ended"), [(RunLost("run-1"), False), (ModelFailed("away"), True)])
async def test_guests_of_a_run_that_goes_on_elsewhere_stay(tmp_path: Path, failure: Exception, ended: bool) -> None:
    agents = debating()
    agents.on("*", "Statement", failure)
    with pytest.raises(type(failure)) if not ended else pytest.raises(Exception, match=r"nobody spoke|no part"):
        await do(agents, tmp_path)
    assert agents.dismissed == [("run-1", ended)]


async def test_a_debater_that_fails_is_missing_and_the_others_go_on(tmp_path: Path) -> None:
    three = (*SIDES, {"name": "reader"})
    both = [("agree", "agree")]
    agents = debating(voting({"The Saver": both, "The Guard": both}), plan_=debate(*three))
    agents.on("reader", "Statement", ModelFailed("away"))
    result, _ = await do(agents, tmp_path)
    assert result.agreement == 1.0
    assert [m.agent for m in result.missing] == ["reader"]


async def test_without_its_moderator_a_debate_has_points_and_a_report_all_the_same(tmp_path: Path) -> None:
    both = [("agree", "agree")]
    agents = debating(voting({"The Saver": both, "The Guard": both}))
    agents.on("chief", "Points", ModelFailed("away"))
    agents.on("chief", "Findings", ModelFailed("away"))
    result, _ = await do(agents, tmp_path)
    assert result.agreement == 1.0
    assert "The Saver: The Saver in round 2" in result.output
    assert [m.what for m in result.missing] == ["its summary of the debate"]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (debate(SIDES[0]), "needs 2 to 8 debaters"),
        (debate({"name": "nobody_here"}, SIDES[0]), "cannot take part"),
        (debate({"name": "rater_a"}, SIDES[0]), "cannot take part"),
        (debate({"name": "surfer"}, SIDES[0]), "cannot take part"),
        (debate({"name": "reader", "persona": "somebody else"}, SIDES[0]), "an agent already"),
        (debate(SIDES[0], {"name": "the saver!", "persona": "again"}), "two debaters are called 'the_saver'"),
        (debate(*({"name": f"v{n}", "persona": "one"} for n in range(9))), "at most 8"),
    ],
)
async def test_a_debate_that_cannot_be_held_is_refused_with_the_reason(tmp_path: Path, bad: Any, reason: str) -> None:
    agents = debating(plan_=bad)
    with pytest.raises(UnusableAnswer, match=reason):
        await do(agents, tmp_path)


async def test_all_sides_speak_at_the_same_time(tmp_path: Path) -> None:
    both = [("agree", "agree")]
    agents = debating(voting({"The Saver": both, "The Guard": both}))
    speaking: set[str] = set()
    all_here = anyio.Event()

    async def meet(agent: str, title: str) -> None:
        if title == "Statement":
            speaking.add(agent)
            if len(speaking) == 2:
                all_here.set()
            await all_here.wait()

    agents.pause = meet
    result, _ = await do(agents, tmp_path)
    assert result.agreement == 1.0


async def test_a_debate_that_dies_goes_on_without_repeating_a_statement(tmp_path: Path) -> None:
    both = [("agree", "agree")]
    agents, run, died = debating(voting({"The Saver": both, "The Guard": both})), MemoryRun(), False

    async def die(agent: str, title: str) -> None:
        nonlocal died
        if title == "Findings" and agent == "chief" and not died:
            died = True
            raise RunLost(run.run_id)

    agents.pause = die
    with pytest.raises(RunLost):
        await do(agents, tmp_path, run=run)
    run.resumed = True
    result, _ = await do(agents, tmp_path, run=run)
    assert result.agreement == 1.0
    assert agents.asked("Statement") == 4
    assert agents.dismissed == [("run-1", False), ("run-1", True)]
