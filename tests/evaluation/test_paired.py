"""Whether two variants differ: the test, the interval and the words, against what can be worked out by hand."""

from __future__ import annotations

import itertools
import random
from statistics import fmean

import pytest

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.evaluation import Comparison
from atlas_mcp.watch.evaluation import paired
from atlas_mcp.watch.evaluation.paired import Score, fewest, hedges_g, needed, sign_flip, step_down

RATING = Score("rating")
CHECKS = Score("checks")
SECONDS = Score("seconds", "expense", "s")


def compare(a: str, b: str, pairs: dict[Score, list[tuple[float, float]]], alpha: float = 0.05) -> Comparison:
    """The comparison of values that belong to the same examples in each score."""
    by_example = {score: {f"e{n}": pair for n, pair in enumerate(both)} for score, both in pairs.items()}
    return paired.compare(a, b, by_example, alpha=alpha)


def by_all_signs(differences: list[float]) -> float:
    """The two-sided p of the sign-flip test, written down as it is defined."""
    seen = abs(sum(differences))
    flips = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in _signs(len(differences))]
    return sum(flip >= seen - 1e-9 for flip in flips) / len(flips)


def _signs(n: int) -> list[tuple[int, ...]]:
    return list(itertools.product((1, -1), repeat=n))


@pytest.mark.parametrize("seed", range(12))
def test_the_p_is_the_share_of_all_sign_changes_that_give_as_much(seed: int) -> None:
    chance = random.Random(seed)
    differences = [round(chance.gauss(0.4, 1), 1) for _ in range(8)]
    assert sign_flip(differences).p == pytest.approx(by_all_signs(differences))


@pytest.mark.parametrize("n", [8, 11, 20])
def test_the_interval_leaves_zero_out_exactly_where_the_test_says_that_it_is_not_chance(n: int) -> None:
    chance = random.Random(n)
    said: set[bool] = set()
    for _ in range(20):
        found = sign_flip([chance.gauss(0.6, 1) for _ in range(n)])
        assert found.low is not None
        assert found.high is not None
        assert (found.p <= 0.05) == (not found.low <= 0 <= found.high)
        said.add(found.p <= 0.05)
    assert said == {True, False}, "both cases were seen"


def test_the_interval_holds_the_true_difference_as_often_as_it_promises() -> None:
    chance, held, tries = random.Random(7), 0, 1_000
    for _ in range(tries):
        found = sign_flip([2.0 + chance.uniform(-1, 1) for _ in range(8)])
        assert found.low is not None
        assert found.high is not None
        held += found.low <= 2.0 <= found.high
    assert held / tries == pytest.approx(1 - 2 * 6 / 256, abs=0.02)  # 6 = floor(0.025 * 256) of 256 gaps at each end


def test_variants_that_are_the_same_are_called_different_no_oftener_than_the_level_says() -> None:
    chance, called = random.Random(3), 0
    for _ in range(400):
        pairs = {Score(name): [(chance.gauss(3, 1), chance.gauss(3, 1)) for _ in range(8)] for name in "abcd"}
        called += compare("A", "B", pairs).quality != "noise"
    assert called / 400 <= 0.05 + 0.02


def test_with_many_examples_drawn_subsets_agree_with_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(5)
    differences = [chance.gauss(0.5, 1) for _ in range(14)]
    exact = sign_flip(differences)
    monkeypatch.setattr(paired, "EXACT", 0)
    drawn = sign_flip(differences)
    assert drawn.p == pytest.approx(exact.p, abs=0.01)
    assert (drawn.low, drawn.high) == pytest.approx((exact.low, exact.high), abs=0.05)
    assert drawn == sign_flip(differences), "the same draws each time"


def test_a_clear_gain_is_better_and_says_by_how_much() -> None:
    pairs = [(3.0 + n / 10, 4.0 + n / 10 + n % 3 / 10) for n in range(8)]
    told = compare("old", "new", {RATING: pairs})
    assert told.quality == "better"
    assert told.text.startswith("new does better work than old on 8 examples (rating +1.0")
    found = told.of("rating")
    assert found is not None
    assert found.p == pytest.approx(2 / 256)
    assert found.difference == pytest.approx(fmean(b - a for a, b in pairs))
    assert found.effect is not None
    assert found.effect > 3


def test_a_clear_loss_is_worse_and_more_time_is_more_expense() -> None:
    told = compare("old", "new", {RATING: [(4.0, 3.0)] * 7, SECONDS: [(10.0 + n, 20.0 + 2 * n) for n in range(7)]})
    assert (told.quality, told.expense) == ("worse", "worse")
    assert "new does worse work than old" in told.text
    assert "new takes more (seconds +13)" in told.text


def test_less_time_is_better_and_does_not_make_the_work_better() -> None:
    told = compare("old", "new", {RATING: [(4.0, 4.0)] * 7, SECONDS: [(20.0 + n, 10.0) for n in range(7)]})
    assert (told.quality, told.expense) == ("noise", "better")
    rating = told.of("rating")
    assert rating is not None
    assert rating.text == "rating: 4 in both"


def test_better_in_one_thing_and_worse_in_another_is_said_as_that() -> None:
    told = compare("old", "new", {RATING: [(3.0, 4.0)] * 9, CHECKS: [(1.0, 0.5)] * 9})
    assert told.quality == "mixed"
    assert "better than old in one thing and worse in another" in told.text


def test_noise_is_called_noise_and_says_how_many_examples_would_tell() -> None:
    told = compare("old", "new", {RATING: [(3.0, 3.4), (4.0, 3.8), (2.0, 2.5), (4.0, 4.1), (3.0, 2.9), (3.0, 3.3)]})
    assert told.quality == "noise"
    found = told.of("rating")
    assert found is not None
    assert found.needed is not None
    assert found.needed > 6
    assert f"about {found.needed} examples would tell it" in told.text


def test_five_examples_tell_nothing_however_large_the_difference() -> None:
    told = compare("old", "new", {RATING: [(1.0, 5.0)] * 5})
    assert told.quality == "noise"
    assert "fewer than 6 examples no difference can be told" in told.text
    found = told.of("rating")
    assert found is not None
    assert (found.low, found.high) == (None, None)
    assert compare("old", "new", {RATING: [(1.0, 5.0)] * 6}).quality == "better"


def test_several_scores_are_held_against_a_stricter_level_but_not_by_those_that_say_the_same() -> None:
    six = [(3.0, 4.0)] * 6
    against = [(1.0, 1.0 + d) for d in (0.5, -0.4, 0.3, -0.6, 0.2, -0.1)]
    assert compare("a", "b", {RATING: six, CHECKS: six}).quality == "better"
    assert compare("a", "b", {RATING: six, CHECKS: [(1.0, 1.0)] * 6}).quality == "better"
    assert compare("a", "b", {RATING: six, SECONDS: [(1.0, 1.1), (2.0, 1.0)] * 3}).quality == "better"
    alone = compare("a", "b", {CHECKS: [(0.0, d) for d in (1, 1, 1, 1, 1, 1, 1, 0.1, -0.9)]}).of("checks")
    beside = compare(
        "a",
        "b",
        {CHECKS: [(0.0, d) for d in (1, 1, 1, 1, 1, 1, 1, 0.1, -0.9)], RATING: [*against, *against[:3]]},
    ).of("checks")
    assert alone is not None
    assert beside is not None
    assert alone.p == beside.p == alone.p_adjusted < beside.p_adjusted <= 2 * alone.p


def test_the_p_of_several_scores_is_that_of_the_smallest_over_all_sign_changes_step_by_step() -> None:
    chance = random.Random(11)
    ds = {Score(name): [chance.gauss(0.3 * n, 1) for _ in range(7)] for n, name in enumerate("abc")}

    def alone(signs: tuple[int, ...]) -> dict[Score, float]:
        return {s: by_all_signs([x * d for x, d in zip(signs, one, strict=True)]) for s, one in ds.items()}

    seen, every = alone((1,) * 7), [alone(signs) for signs in _signs(7)]
    ordered, before, expected = sorted(ds, key=lambda score: seen[score]), 0.0, dict[Score, float]()
    for n, score in enumerate(ordered):
        share = sum(min(one[s] for s in ordered[n:]) <= seen[score] for one in every) / len(every)
        before = expected[score] = max(before, share)
    found = step_down({score: {str(n): d for n, d in enumerate(one)} for score, one in ds.items()})
    assert found == pytest.approx(expected)
    assert any(found[score] > seen[score] for score in ds)


def test_the_effect_and_the_examples_needed_are_those_of_the_formulas() -> None:
    assert hedges_g([1.0, 2.0, 3.0]) == pytest.approx(2.0 * (1 - 3 / 7))
    assert hedges_g([1.0, 1.0]) is None
    assert hedges_g([1.0]) is None
    assert needed(0.5, 0.05) == 34  # a paired t-test takes as many: Cohen's tables give 34
    assert fewest(0.05) == 6
    assert fewest(0.01) == 8


@pytest.mark.parametrize(
    ("pairs", "alpha", "argument"),
    [
        ({}, 0.05, "pairs"),
        ({RATING: []}, 0.05, "pairs"),
        ({RATING: [(1.0, float("nan"))]}, 0.05, "pairs"),
        ({RATING: [(1.0, 2.0)]}, 0.0, "alpha"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    pairs: dict[Score, list[tuple[float, float]]], alpha: float, argument: str
) -> None:
    with pytest.raises(InvalidInput) as refused:
        compare("a", "b", pairs, alpha=alpha)
    assert refused.value.argument == argument
