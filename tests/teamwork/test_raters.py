"""Raters that cannot be relied on are noticed, by rules that can be measured, and replaced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from atlas_mcp.errors import BudgetSpent, ModelFailed
from atlas_mcp.model.sections import sections
from atlas_mcp.model.work import Draft, DraftSection
from atlas_mcp.teamwork import fitness
from tests.teamwork.scripted_agents import (
    MemoryRun,
    ScriptedAgents,
    criteria_in,
    do,
    draft,
    judged,
    rate_all,
    task,
)

pytestmark = pytest.mark.anyio

DAMAGED = fitness.FALSE_CLAIM


def _reasoned(score: float) -> Any:
    """The same score for everything, each for a reason of its own."""

    def rate(agent: str, prompt: str) -> Any:
        reasons = ("the keeper is not named", "nothing says where it was", "dates are lacking throughout this")
        pairs = zip(criteria_in(prompt), reasons, strict=True)
        return {"scores": [judged(c, score, prompt, reason) for c, reason in pairs]}

    return rate


async def test_a_rater_that_gives_full_marks_is_put_to_the_test_once_and_counts_when_it_fails_a_damaged_text(
    tmp_path: Path,
) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", rate_all(5))
    agents.on("rater_b", "Verdict", rate_all(2, "weak", "s1"))
    agents.on("writer", "Draft", draft(("s1", "One thing. Two things.")), draft(("s1", "Three things. Four things.")))
    result, _ = await do(agents, tmp_path)
    assert result.rounds == 2
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}
    tests = [p for a, p in agents.prompts if a == "rater_a" and DAMAGED in p]
    assert len(tests) == 1
    assert "things Two and One thing" in sections(tests[0], "draft")[0].body
    assert not sections(tests[0], "checks")  # nothing says that it is a test


async def test_a_rater_that_passes_a_damaged_text_too_is_replaced_and_none_of_its_ratings_count(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", rate_all(5, honest=False))
    agents.on("*", "Verdict", rate_all(3, "weak"))
    result, run = await do(agents, tmp_path, task(max_rounds=1))
    assert not result.passed
    assert {(r.rater, r.score) for r in result.ratings} == {("rater_b", 3.0), ("rating_lead", 3.0)}
    [lost] = [m for m in result.missing if m.agent == "rater_a"]
    assert lost.why == f"{fitness.PASSES_ALL}; rating_lead rated it instead"
    assert run.texts("rater_replaced")


@pytest.mark.parametrize(
    ("error", "counts"), [(ModelFailed("down"), False), (BudgetSpent("no more turns", limit="turns"), True)]
)
async def test_full_marks_that_could_not_be_tested_count_only_where_a_budget_prevented_it(
    tmp_path: Path, error: Exception, counts: bool
) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", rate_all(5), error)
    result, _ = await do(agents, tmp_path)
    assert ("rater_a" in {r.rater for r in result.ratings}) is counts
    assert [m.why for m in result.missing if m.agent == "rater_a"] == (
        [] if counts else ["it gave full marks, and could not be put to the test: down; rating_lead rated it instead"]
    )


async def test_who_was_replaced_is_not_asked_again_and_who_stood_in_stays(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", rate_all(5, honest=False))
    agents.on("*", "Verdict", rate_all(3, "weak"))
    agents.on("writer", "Draft", draft(("s1", "One.")), draft(("s1", "Two.")))
    result, _ = await do(agents, tmp_path)
    assert agents.asked("Verdict", "rater_a") == 2
    assert {r.rater for r in result.ratings if r.round == 2} == {"rater_b", "rating_lead"}


async def test_a_model_that_passes_everything_passes_nothing_at_a_bounded_cost(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(5, honest=False))
    result, run = await do(agents, tmp_path, task(max_rounds=5))
    assert not result.passed
    assert result.ratings == []
    assert run.texts("rated") == ["rating round 1: no ratings; the text does not pass"]
    assert agents.asked("Verdict") == 8  # two raters and two in their place, each with one test


async def test_a_rater_that_fails_everything_alike_against_all_others_is_replaced(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.roster = _with_a_third_rater(agents)
    agents.on("rater_a", "Verdict", rate_all(1, "bad"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert result.rounds == 1
    assert "rater_a" not in {r.rater for r in result.ratings}
    assert "rating_lead" in {r.rater for r in result.ratings}
    assert next(m.why for m in result.missing if m.agent == "rater_a").startswith(fitness.FAILS_ALL)
    assert run.texts("rater_replaced")


async def test_a_rater_that_finds_fault_alone_but_tells_its_reasons_apart_counts(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.roster = _with_a_third_rater(agents)
    agents.on("rater_a", "Verdict", _reasoned(1))
    result, _ = await do(agents, tmp_path, task(max_rounds=1))
    assert not result.passed
    assert len(result.disagreements) == 3
    assert "rater_a" in {r.rater for r in result.ratings}


async def test_a_rater_that_fails_everything_alike_in_two_rounds_is_replaced_whatever_its_reasons(
    tmp_path: Path,
) -> None:
    agents = ScriptedAgents()
    agents.roster = _with_a_third_rater(agents)
    agents.on("rater_a", "Verdict", _reasoned(1))
    agents.on("writer", "Draft", draft(("s1", "One.")), draft(("s1", "Two.")))
    result, _ = await do(agents, tmp_path)
    assert (result.rounds, result.best_round, result.passed) == (2, 2, True)
    assert {r.rater for r in result.ratings if r.round == 1} >= {"rater_a"}


async def test_a_lone_low_score_for_a_single_criterion_is_a_disagreement(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.roster = _with_a_third_rater(agents)
    agents.on("rater_a", "Verdict", rate_all(1, "bad"))
    result, _ = await do(agents, tmp_path, task(criteria=("true",), max_rounds=1))
    assert result.disagreements == ["true: editor 4.5, rater_a 1, rater_b 4.5"]
    assert not result.passed


async def test_a_rater_that_cannot_be_read_is_asked_once_more_and_replaced(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", "It is all very nice.")
    result, _ = await do(agents, tmp_path)
    assert result.passed
    assert agents.asked("Verdict", "rater_a") == 2
    assert {r.rater for r in result.ratings} == {"rater_b", "rating_lead"}


@pytest.mark.parametrize("calls", [2, 3])
async def test_a_test_that_was_cut_short_goes_on_without_repeating_a_finished_turn(tmp_path: Path, calls: int) -> None:
    agents, run, reached = ScriptedAgents(), MemoryRun(), anyio.Event()
    agents.on("*", "Verdict", rate_all(5, honest=False))

    async def wait(agent: str, title: str) -> None:
        raters = ("rater_a", "rating_lead")  # the second turn is the test, the third the substitute's
        if title == "Verdict" and sum(agents.asked("Verdict", who) for who in raters) == calls and agent in raters:
            reached.set()
            await anyio.sleep_forever()

    agents.pause = wait
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(do, agents, tmp_path, None, run)
            await reached.wait()
            group.cancel_scope.cancel()
    agents.pause, run.resumed = None, True
    result, _ = await do(agents, tmp_path, run=run)
    assert result.ratings == []
    keys = [key for _, title, key in agents.turns if title == "Verdict"]
    assert len(set(keys)) == 8
    assert all(key in agents.stored for key in keys)
    finished = [e["turn_id"] for e in run.events if e["type"] == "turn_finished"]
    assert len(finished) == len(set(finished)) == run.usage.turns


def test_a_damaged_text_is_the_same_each_time_and_no_longer_the_text() -> None:
    text = "He lit 4 lamps. It was dusk. Nobody came."
    good = Draft(sections=(DraftSection(id="s1", heading="H", text=text), DraftSection(id="s2", text="So.")))
    bad = fitness.damaged(good)
    assert bad == fitness.damaged(good)
    assert [s.id for s in bad.sections] == ["s1", "s2"]
    assert DAMAGED in bad.sections[0].text
    assert "came Nobody and It was dusk and lamps 41 lit He and came Nobody and It was dusk" in bad.sections[0].text
    assert len(bad.sections[0].text.split(DAMAGED)[1].split()) > 60
    assert not any(s.heading for s in bad.sections)


def test_a_damaged_text_is_no_longer_than_a_message_may_be() -> None:
    long = Draft(sections=tuple(DraftSection(id=f"s{n}", text="It was so. " * 900) for n in range(6)))
    assert len(fitness.damaged(long).model_dump_json()) < 1.1 * len(long.model_dump_json())


def _with_a_third_rater(agents: ScriptedAgents) -> Any:
    teams = [
        t.model_copy(update={"workers": (*t.workers, "editor")}) if t.name == "rating" else t
        for t in agents.roster.teams
    ]
    return agents.roster.model_copy(update={"teams": tuple(teams)})
