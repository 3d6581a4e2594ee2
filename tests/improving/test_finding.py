"""What the record gives rise to, and how sure that is; the sums are checked against what is known of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import count

import pytest

from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.constellation.tuned import tuned
from atlas_mcp.model.proposal import SURE, Change
from atlas_mcp.watch.improving import finding, repeated
from atlas_mcp.watch.improving.facts import Facts, Rated, Turn, Work
from atlas_mcp.watch.improving.measuring import first, measure, read_before
from atlas_mcp.watch.improving.statistics import compare, interval, sample, share_below, student
from atlas_mcp.watch.seen_spans import Seen

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ROSTER = load_roster(None)
DEAR, CHEAP = "openai/large", "openai/small"
_ids = count()


def turn(agent: str = "strategist", run: str = "", *, days: float = 1.0, **more: object) -> Turn:
    given = {"agent": agent, "run_id": run, "done": True, "at": NOW - timedelta(days=days), "seconds": 1.0, **more}
    return Turn(**given)  # type: ignore[arg-type]


def tasks(model: str, ratings: list[float], *, usd: float, days: float) -> Facts:
    """A rated task each, in which the strategist took a turn with that model."""
    ids = [f"run{next(_ids)}" for _ in ratings]
    at = NOW - timedelta(days=days)
    return Facts(
        turns=tuple(turn(run=run, model=model, usd=usd, days=days) for run in ids),
        rated=tuple(Rated(run, at, q) for run, q in zip(ids, ratings, strict=True)),
    )


def both(*facts: Facts) -> Facts:
    return Facts(
        turns=tuple(t for one in facts for t in one.turns),
        rated=tuple(r for one in facts for r in one.rated),
        work=tuple(w for one in facts for w in one.work),
    )


# -- sums


@pytest.mark.parametrize(
    ("t", "freedom", "share"),
    [(0.0, 5, 0.5), (2.015, 5, 0.95), (-2.015, 5, 0.05), (1.96, 1e6, 0.975), (1.833, 9, 0.95)],
)
def test_students_distribution_is_that_of_the_tables(t: float, freedom: float, share: float) -> None:
    assert student(t, freedom) == pytest.approx(share, abs=2e-4)


def test_of_a_share_never_seen_one_is_the_surer_the_more_was_tried() -> None:
    assert share_below(0, 14, 0.1) == pytest.approx(1 - 0.9**15)
    assert share_below(0, 5, 0.1) < 0.5 < share_below(0, 14, 0.1) < share_below(0, 40, 0.1)
    assert share_below(5, 10, 0.1) < 0.001
    assert interval(0, 0) == (0.0, 1.0)
    low, high = interval(1, 10)
    assert (low, high) == (pytest.approx(0.0179, abs=1e-3), pytest.approx(0.4042, abs=1e-3))


def test_the_interval_of_a_difference_holds_it_and_is_wider_for_fewer() -> None:
    few = compare(sample([4, 4.5, 4.2]), sample([4.1, 4.4, 4.3]))
    many = compare(sample([4, 4.5, 4.2] * 10), sample([4.1, 4.4, 4.3] * 10))
    assert few.low < few.mean < few.high
    assert many.high - many.low < few.high - few.low
    assert many.not_worse > few.not_worse
    assert compare(sample([5.0] * 20), sample([2.0] * 20)).not_worse < 0.01


# -- a cheaper model


def test_a_cheaper_model_at_equal_ratings_is_proposed_and_never_safe() -> None:
    facts = both(
        tasks(CHEAP, [4.3, 4.5, 4.4] * 5, usd=0.01, days=20), tasks(DEAR, [4.4, 4.3, 4.5] * 5, usd=0.05, days=1)
    )
    [draft] = finding.proposals(facts, ROSTER)
    assert (draft.kind, draft.subject, draft.change.to) == ("model", "strategist", "openai:small")
    assert draft.gain.amount == pytest.approx(15 * 0.04)
    assert draft.gain.unit == "dollars in 30 days"
    assert draft.confidence > SURE
    assert not draft.safe
    assert draft.evidence["rated_runs"][CHEAP]["n"] == 15
    assert 'model = "openai:small"' in draft.change.lines
    assert finding.proposals(facts, ROSTER)[0].id == draft.id


@pytest.mark.parametrize(
    ("ratings", "usd", "number"),
    [([2.0, 2.5, 3.0], 0.01, 5), ([4.4, 4.3, 4.5], 0.05, 5), ([4.4, 4.3, 4.5], None, 5), ([4.4, 4.3], 0.01, 3)],
    ids=["worse", "no cheaper", "of unknown price", "too few"],
)
def test_a_model_that_is_worse_as_dear_unpriced_or_hardly_known_is_not_proposed(
    ratings: list[float], usd: float, number: int
) -> None:
    facts = both(tasks(CHEAP, ratings * number, usd=usd, days=20), tasks(DEAR, [4.4, 4.3, 4.5] * 5, usd=0.05, days=1))
    assert finding.proposals(facts, ROSTER) == []


def test_a_cheaper_model_whose_turns_fail_is_not_proposed() -> None:
    facts = both(
        tasks(CHEAP, [4.3, 4.5, 4.4] * 5, usd=0.01, days=20),
        tasks(DEAR, [4.4, 4.3, 4.5] * 5, usd=0.05, days=1),
        Facts(turns=tuple(turn(model=CHEAP, done=False) for _ in range(20))),
    )
    assert [one.kind for one in finding.proposals(facts, ROSTER)] == []


# -- a worker that never contributes


def assignments(number: int, *, delivered: bool, cited: bool, others: bool = True) -> Facts:
    made: list[Work] = []
    for n in range(number):
        made.append(Work(f"run{n}", "part/a", "strategist", delivered, cited))
        made.append(Work(f"run{n}", "part/a", "data_scientist", others, others))
    return Facts(work=tuple(made), turns=tuple(turn(tokens=100) for _ in range(number)))


def test_a_worker_that_never_delivers_is_proposed_to_be_left_out_and_that_is_safe() -> None:
    [draft] = finding.proposals(assignments(20, delivered=False, cited=False), ROSTER)
    assert (draft.kind, draft.subject, draft.risk, draft.safe) == ("worker", "strategist", "low", True)
    assert draft.confidence == pytest.approx(1 - 0.9**21)
    assert (draft.gain.amount, draft.gain.unit) == (2_000, "tokens in 30 days")


def test_a_worker_that_delivers_what_nobody_cites_is_proposed_to_a_person_only() -> None:
    [draft] = finding.proposals(assignments(20, delivered=True, cited=False), ROSTER)
    assert (draft.risk, draft.safe) == ("medium", False)


@pytest.mark.parametrize(
    "facts",
    [
        assignments(5, delivered=False, cited=False),
        assignments(20, delivered=True, cited=True),
        assignments(20, delivered=False, cited=False, others=False),
    ],
    ids=["too few", "contributes", "nobody delivers"],
)
def test_a_worker_is_not_blamed_without_cause(facts: Facts) -> None:
    assert finding.proposals(facts, ROSTER) == []


# -- a time-out


def test_a_time_out_is_proposed_that_no_good_turn_would_have_met() -> None:
    good = [turn(seconds=s) for s in (1.0, 10.0) for _ in range(10)]
    late = [turn(seconds=60.0, done=False) for _ in range(4)]
    [draft] = finding.proposals(Facts(turns=(*good, *late)), ROSTER)
    assert (draft.kind, draft.change.setting, draft.change.to) == ("timeout", "turn_seconds", "15")
    assert draft.gain.amount == pytest.approx(4 * 45)
    assert draft.confidence == pytest.approx(20 / 21)
    assert finding.proposals(Facts(turns=(*good, *late, turn(seconds=59.0))), ROSTER) == []
    limited = tuned(ROSTER, [draft.change])
    assert limited.agent("strategist").turn_seconds == 15.0
    assert finding.proposals(Facts(turns=(*good, *late)), limited) == []


# -- repeated calls


def call(asked: str, answered: str, *, kind: str = "network") -> Seen:
    attributes = {
        "atlas.tool.kind": kind,
        "gen_ai.tool.name": "fetch_page",
        "mlflow.spanInputs": asked,
        "mlflow.spanOutputs": answered,
    }
    number = next(_ids)
    return Seen(
        "t", str(number), "", "execute_tool fetch_page", number, number + 2_000_000_000, ok=True, attributes=attributes
    )


def test_calls_made_again_for_the_same_answer_are_proposed_to_be_kept_and_their_texts_shown_nowhere() -> None:
    [draft] = repeated.found([call("secret question", "the answer") for _ in range(12)])
    assert draft.evidence["repeats"] == draft.evidence["same_answer"] == 11
    assert draft.confidence == pytest.approx(12 / 13)
    assert draft.gain.amount == pytest.approx(22)
    assert draft.change.setting is None
    assert "secret" not in draft.model_dump_json()
    assert "the answer" not in draft.model_dump_json()
    assert repeated.found([call(str(n), "x") for n in range(50)]) == []
    assert repeated.found([call("q", "x", kind="run") for _ in range(50)]) == []
    [unsure] = repeated.found([call("q", str(n)) for n in range(12)])
    assert unsure.confidence == pytest.approx(1 / 13)


# -- the roster with changes in force, and how they do


def test_changes_lie_over_the_roster_and_leave_nothing_when_they_are_gone() -> None:
    changes = [
        Change(agent="strategist", setting="left_out"),
        Change(agent="data_scientist", setting="model", to="openai:small"),
        Change(agent="nobody", setting="model", to="openai:small"),
    ]
    changed = tuned(ROSTER, changes)
    team = ROSTER.agent("strategist").team or ""
    assert "strategist" not in changed.team(team).workers
    assert changed.agent("strategist") == ROSTER.agent("strategist")
    assert changed.agent("data_scientist").model == "openai:small"
    assert tuned(ROSTER, []) is ROSTER
    everyone = [Change(agent=name, setting="left_out") for name in ROSTER.team(team).workers]
    assert len(tuned(ROSTER, everyone).team(team).workers) == 1


@pytest.mark.parametrize(
    ("since", "days", "verdict"),
    [
        ([4.4, 4.3, 4.5] * 5, 10, "kept"),
        ([3.0, 3.2, 2.8] * 5, 10, "taken_back"),
        ([4.4, 4.3], 10, "goes_on"),
        ([4.4, 4.3], 31, "taken_back"),
    ],
    ids=["as good", "worse", "too early to say", "never shown to hold"],
)
def test_a_change_is_kept_or_taken_back_by_how_tasks_are_rated(since: list[float], days: float, verdict: str) -> None:
    applied = NOW - timedelta(days=days)
    before = tasks(DEAR, [4.4, 4.3, 4.5] * 5, usd=0.05, days=days + 1)
    kept = first(before, applied)
    facts = tasks(DEAR, since, usd=0.05, days=1)
    found, told = measure(facts, applied, NOW, read_before(kept))
    assert found == verdict
    assert told["before"]["rated"]["n"] == 15
    assert read_before(told) == read_before(kept)


def test_a_change_after_which_turns_fail_is_taken_back_at_once() -> None:
    applied = NOW - timedelta(days=2)
    before = Facts(turns=tuple(turn(days=5) for _ in range(100)))
    after = Facts(turns=tuple(turn(days=1, done=False) for _ in range(6)))
    verdict, told = measure(both(before, after), applied, NOW)
    assert verdict == "taken_back"
    assert "6 of 6 turns failed" in told["why"]
