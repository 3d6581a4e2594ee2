"""What attempts are scored by, and which of two evaluations' scores are paired."""

from __future__ import annotations

from typing import Any

import pytest

from atlas_mcp.errors import InvalidInput
from atlas_mcp.evaluating import compare
from atlas_mcp.model.evaluated import Attempt
from atlas_mcp.model.example import Expected, Work
from atlas_mcp.model.result import Check, Rating
from atlas_mcp.model.usage import Usage
from atlas_mcp.watch.evaluation.paired import Score
from atlas_mcp.watch.evaluation.scoring import criteria_means, pairs, says, scores
from tests.evaluation.world import chat, evaluation

TASK = Work(goal="How was the light kept?", criteria=("answers the goal", "is clear"))
EXPECTED = Expected(criteria=TASK.criteria, phrases=("lit at dusk", "oil and bread"), sources=("log.txt", "map.txt"))
EXAMPLE = chat(1).model_copy(update={"work": TASK, "expected": EXPECTED})


def attempt(**more: Any) -> Attempt:
    given: dict[str, Any] = {
        "example": EXAMPLE.id,
        "status": "completed",
        "output": "It was **lit\nat dusk**.",
        "sources": ["log.txt"],
        "checks": [
            Check(name="numbers", passed=True, text=""),
            Check(name="sources", passed=False, text="", section="s1"),
            Check(name="sources", passed=False, text="", section="s2"),
            Check(name="criteria", passed=False, text="only points out"),
        ],
        "ratings": {"answers the goal": 4.0, "is clear": 3.0},
        "seconds": 2.5,
        "usage": Usage(turns=1, input_tokens=90, output_tokens=10, cost_usd=0.5),
    }
    return Attempt(**given | more)


def test_each_score_is_what_it_says() -> None:
    assert scores(EXAMPLE, attempt()) == {
        "rating": 3.5,
        "checks": 0.5,
        "criteria": 0.5,
        "phrases": 0.5,
        "sources": 0.5,
        "seconds": 2.5,
        "tokens": 100.0,
        "cost_usd": 0.5,
    }


def test_a_failed_attempt_is_the_worst_in_quality_and_costs_what_it_took() -> None:
    found = scores(EXAMPLE, attempt(status="failed", output="", ratings=None, checks=[]))
    assert found["rating"] == 1.0
    assert [found[name] for name in ("checks", "criteria", "phrases", "sources")] == [0.0] * 4
    assert found["cost_usd"] == 0.5


def test_what_was_cut_by_the_budget_counts_for_nothing() -> None:
    assert scores(EXAMPLE, attempt(status="cut")) == {}


def test_what_nobody_rated_has_no_rating_and_what_has_no_price_no_cost() -> None:
    found = scores(EXAMPLE, attempt(ratings=None, usage=Usage(turns=1, input_tokens=5)))
    assert not {"rating", "criteria", "cost_usd"} & found.keys()
    assert found["phrases"] == 0.5


def test_of_a_raters_several_scores_the_lowest_counts() -> None:
    ratings = [
        Rating(criterion="c", score=score, reason="", rater=rater, round=1)
        for rater, score in (("a", 5.0), ("a", 2.0), ("b", 4.0))
    ]
    assert criteria_means(ratings) == {"c": 3.0}


@pytest.mark.parametrize("phrase", ["LIT AT DUSK", "“lit at dusk”".strip("“”"), "lit  at\ndusk"])
def test_phrases_are_found_whatever_their_case_breaks_and_marks(phrase: str) -> None:
    assert says("It was *lit at\n dusk*.", phrase)
    assert not says("It was lit at dawn.", phrase)


def test_several_attempts_at_an_example_are_one_value_their_mean() -> None:
    example = chat(1)
    twice = [Attempt(example="ex-1", repeat=n, status="completed", scores={"rating": n + 1.0}) for n in (1, 2)]
    once = [Attempt(example="ex-1", status="completed", scores={"rating": 4.0})]
    assert pairs(evaluation("a", twice, [example]), evaluation("b", once, [example])) == {
        Score("rating"): {"ex-1": (2.5, 4.0)}
    }


def test_examples_are_paired_by_what_they_ask_and_others_are_left_out_which_is_said() -> None:
    same = chat(1).model_copy(update={"id": "ex-other"})
    a = evaluation("a", [_rated("ex-1", 3.0), _rated("ex-2", 5.0)], [chat(1), chat(2)])
    b = evaluation("b", [_rated("ex-other", 4.0)], [same])
    found = compare(a, b)
    assert found.examples == 1
    assert "left out: 1 of a." in found.text


def test_ratings_of_different_raters_are_not_compared_and_that_is_said() -> None:
    a = evaluation("a", [_rated("ex-1", 3.0)], [chat(1)], judge="these")
    b = evaluation("b", [_rated("ex-1", 5.0)], [chat(1)], judge="those")
    found = compare(a, b)
    assert [d.score for d in found.differences] == ["phrases"]
    assert "rated by different raters" in found.text


def test_evaluations_without_a_common_example_cannot_be_compared() -> None:
    with pytest.raises(InvalidInput, match="no example in common"):
        compare(evaluation("a", [_rated("ex-1", 3.0)], [chat(1)]), evaluation("b", [_rated("ex-2", 3.0)], [chat(2)]))


def test_failures_cuts_and_unfinished_evaluations_are_said() -> None:
    failed = Attempt(example="ex-1", status="failed", scores={"rating": 1.0})
    cut = Attempt(example="ex-2", status="cut")
    a = evaluation("a", [_rated("ex-1", 3.0)], [chat(1), chat(2)])
    text = compare(a, evaluation("b", [failed, cut], [chat(1), chat(2)], ended_at=None)).text
    assert "b: 1 of 2 attempts failed, and count as the worst." in text
    assert "b: 1 of 2 attempts were cut by the budget." in text
    assert "b is not finished" in text


def _rated(example: str, rating: float) -> Attempt:
    found = {"rating": rating, "phrases": 1.0}
    return Attempt(example=example, status="completed", ratings={"is clear": rating}, scores=found)
