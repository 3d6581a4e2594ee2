"""The rating loop: it can fail work, revises only what is named, and keeps the best."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.errors import ModelFailed
from atlas_mcp.model.sections import sections
from tests.teamwork.scripted_agents import (
    ROSTER,
    ScriptedAgents,
    do,
    draft,
    give,
    rate_all,
    reasons,
    task,
)

pytestmark = pytest.mark.anyio


async def test_a_weak_text_is_revised_where_the_ratings_say_and_passes(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(2, "says nothing of the weather", "s2"), rate_all(4.5))
    agents.on("writer", "Draft", draft(("s1", "first"), ("s2", "weak")), draft(("s1", "SPOILT"), ("s2", "strong")))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert (result.rounds, result.best_round) == (2, 2)
    assert "strong" in result.output
    assert "first" in result.output  # nobody named s1
    assert "SPOILT" not in result.output
    revision = [p for a, p in agents.prompts if a == "writer"][1]
    told = "s2: answers the goal: says nothing of the weather (“first”)"
    assert told in reasons(sections(revision, "feedback")[0].body)
    assert run.texts("rated")[0].startswith("rating round 1: 2.0, below 4.0: 'answers the goal' (2.0)")
    assert run.texts("rated")[0].endswith("will be revised")
    assert run.texts("revised")


async def test_the_best_round_is_kept_when_a_revision_makes_it_worse(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(3.5), rate_all(2))
    agents.on("writer", "Draft", draft(("s1", "better")), draft(("s1", "worse")))
    result, _ = await do(agents, tmp_path)
    assert "better" in result.output
    assert (result.rounds, result.best_round, result.passed) == (2, 1, False)
    assert set(result.unmet) == set(task().criteria)
    assert {r.round for r in result.ratings} == {1, 2}


@pytest.mark.parametrize("rounds", [1, 2, 3])
async def test_no_more_rounds_than_allowed(tmp_path: Path, rounds: int) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(1))
    agents.on("writer", "Draft", *(draft(("s1", f"try {n}")) for n in range(9)))
    result, _ = await do(agents, tmp_path, task(max_rounds=rounds))
    assert result.rounds == rounds
    assert agents.asked("Draft") == rounds
    assert not result.passed


async def test_a_revision_that_changes_nothing_is_not_rated_again(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(2))
    result, _ = await do(agents, tmp_path, task(max_rounds=5))
    assert result.rounds == 1
    assert agents.asked("Verdict") == 2


async def test_raters_that_lie_more_than_a_point_apart_are_listed(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", rate_all(5))
    agents.on("rater_b", "Verdict", rate_all(3.5))
    result, _ = await do(agents, tmp_path, task(criteria=("true",)))
    assert result.passed  # 4.25 in the mean
    assert result.disagreements == ["true: rater_a 5, rater_b 3.5"]


def _score(criterion: str, score: Any) -> dict[str, Any]:
    return {"criterion": criterion, "score": score, "reason": "r", "quote": "The lamp was lit."}


@pytest.mark.parametrize(
    "bad",
    [
        {"scores": [_score("true", 5)]},
        {"scores": [_score("true", 5), _score("clear", 0)]},
        {"scores": [_score("true", 5), _score("clear", 6)]},
        {"scores": [_score("true", 5), _score("clear", None)]},
        {"scores": [_score("true", 5), {"criterion": "clear", "score": 5}]},
        {"scores": []},
    ],
)
async def test_a_missing_or_zero_rating_is_asked_for_once_more_and_then_never_a_pass(
    tmp_path: Path, bad: dict[str, Any]
) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", bad)
    result, run = await do(agents, tmp_path, task(criteria=("true", "clear")))
    assert not result.passed
    assert result.ratings == []
    assert set(result.unmet) == {"true", "clear"}
    assert agents.asked("Verdict", "rater_a") == 2
    assert {"rater_a", "rater_b"} <= {m.agent for m in result.missing}
    assert run.texts("rated") == ["rating round 1: no ratings; the text does not pass"]


async def test_a_rater_that_fails_is_replaced_by_another_that_wrote_nothing_and_the_result_says_so(
    tmp_path: Path,
) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", ModelFailed("down"))
    result, run = await do(agents, tmp_path)
    assert result.passed
    assert {r.rater for r in result.ratings} == {"rater_b", "rating_lead"}
    assert [m.why for m in result.missing if m.agent == "rater_a"] == ["down; rating_lead rated it instead"]
    assert run.texts("rater_replaced") == ["rater_a is replaced by rating_lead: down"]


async def test_ratings_quote_the_text_that_they_mean(tmp_path: Path) -> None:
    result, _ = await do(ScriptedAgents(), tmp_path)
    assert {r.quote for r in result.ratings} == {"The lamp was lit."}


@pytest.mark.parametrize(
    ("quote", "problem"), [("", "no words of the draft are quoted"), ("The lamp was stolen.", "are not in the draft")]
)
async def test_a_rating_without_words_of_the_text_is_asked_for_once_more(
    tmp_path: Path, quote: str, problem: str
) -> None:
    agents = ScriptedAgents()
    agents.on("rater_a", "Verdict", {"scores": [_score("true", 5) | {"quote": quote}]}, {"scores": [_score("true", 4)]})
    result, run = await do(agents, tmp_path, task(criteria=("true",)))
    assert result.passed
    assert agents.asked("Verdict", "rater_a") == 2
    assert any(problem in text for text in run.texts("turn_finished"))


async def test_the_rounds_are_compared_in_the_result(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(2, "weak", "s2"), rate_all(4.5))
    agents.on("writer", "Draft", draft(("s1", "first"), ("s2", "weak")), draft(("s2", "much stronger")))
    result, _ = await do(agents, tmp_path, task(criteria=("true",)))
    first, second = result.compared
    assert (first.round, first.mean, first.criteria) == (1, 2.0, {"true": 2.0})
    assert first.changed == "the first text: 2 sections, 2 words"
    assert (second.round, second.mean) == (2, 4.5)
    assert second.changed == "s2 revised (1 to 2 words); 'true' 2.0 to 4.5"


async def test_whoever_wrote_does_not_rate(tmp_path: Path) -> None:
    teams = [
        t.model_copy(update={"workers": (*t.workers, "writer", "reader")}) if t.name == "rating" else t
        for t in ROSTER.teams
    ]
    agents = ScriptedAgents(ROSTER.model_copy(update={"teams": tuple(teams)}))
    result, _ = await do(agents, tmp_path)
    assert {r.rater for r in result.ratings} == {"rater_a", "rater_b"}


async def test_a_bad_section_is_not_averaged_away_by_the_good_ones_of_the_same_rater(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    mixed = {"scores": [_score("true", 5) | {"section": "s1"}, _score("TRUE.", 1) | {"section": "s2"}]}
    agents.on("*", "Verdict", mixed)
    result, _ = await do(agents, tmp_path, task(criteria=("true",), max_rounds=1))
    assert result.unmet == ["true"]


async def test_an_editor_that_the_supervisor_names_works_on_the_writers_text(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("writing_lead", "Delegation", give("writer", "editor"))
    agents.on("editor", "Draft", draft(("s2", "Edited.")))
    result, run = await do(agents, tmp_path)
    assert "Edited." in result.output
    assert "The lamp was lit." in result.output
    assert run.texts("drafted") == ["writer, editor wrote the text: 2 sections"]


async def test_a_revision_without_any_named_section_is_sent_back_once(tmp_path: Path) -> None:
    agents = ScriptedAgents()
    agents.on("*", "Verdict", rate_all(2, "weak", "s2"), rate_all(5))
    agents.on("writer", "Draft", draft(("s1", "a"), ("s2", "b")), draft(("s1", "a")), draft(("s2", "better")))
    result, _ = await do(agents, tmp_path)
    assert result.passed
    assert "better" in result.output
    assert agents.asked("Draft") == 3
