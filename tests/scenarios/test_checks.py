"""Each kind of check fails when it should, says what it expected and what there is, and holds when it does."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from atlas_mcp.model.plan import Part, Plan
from atlas_mcp.model.result import Cited, Missing, Result
from atlas_mcp.model.run import Event, Run
from atlas_mcp.model.scenario import Expect
from atlas_mcp.model.usage import Usage
from atlas_mcp.scenarios.checks import Seen, failures, used

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TYPES = (("chief", "planned", "1 part"), ("ann", "turn_started", "ann looks"), ("ann", "turn_finished", "ann found 1"))
TYPES += (("bob", "turn_finished", "bob found 2"), ("atlas", "run_completed", "Completed."))
USAGE = Usage(turns=4, input_tokens=900, output_tokens=100, cost_usd=0.02)


def run(**changes: Any) -> Run:
    result = Result(
        output="The lamp was lit at dusk.",
        evidence=[Cited(claim="lit at dusk", source="log.txt")],
        rounds=2,
        passed=False,
        disagreements=["clear: ann 5, bob 2"],
        unmet=["clear"],
        missing=[Missing(agent="eve", what="all", why="no tool")],
        stopped="the budget of 4 turns is spent",
    )
    given: dict[str, Any] = {
        "run_id": "run_1",
        "status": "completed",
        "goal": "g",
        "plan": Plan(parts=(Part(id="a", team="research", task="t"),)),
        "events": [Event(seq=n, at=NOW, actor=a, type=t, text=x) for n, (a, t, x) in enumerate(TYPES, 1)],
        "result": result,
        "usage": USAGE,
        "created_at": NOW,
        "updated_at": NOW,
    }
    return Run(**given | changes)


def seen(memory: tuple[str, ...] = (), **changes: Any) -> Seen:
    made = run(**changes)
    return Seen(made.result.output if made.result else "", made.usage, 3.0, made, memory)


def found(expect: dict[str, Any], *, real: bool = False, memory: tuple[str, ...] = (), **changes: Any) -> list[str]:
    return failures(Expect.model_validate(expect), seen(memory, **changes), real=real)


FINISHED = {"type": "turn_finished"}
HOLDS: list[dict[str, Any]] = [
    {},
    {"plan": ["research"]},
    {"events": [FINISHED]},
    {"events": [FINISHED | {"count": 2}]},
    {"events": [FINISHED | {"actor": "bob", "words": "found 2", "count": 1}]},
    {"events": [{"type": "worker_failed", "count": 0}]},
    {"order": [{"type": "planned"}, FINISHED | {"actor": "ann"}, FINISHED | {"actor": "bob"}]},
    {"order": [FINISHED, FINISHED]},
    {"contains": ["at dusk"], "omits": ["at dawn"], "matches": [r"lamp .* lit"]},
    {"evidence": 1, "disagreements": 1, "rounds": 2, "passed": False},
    {"unmet": ["clear"], "missing": ["eve"], "stopped": "4 turns"},
    {"at_most": {"turns": 4, "tokens": 1_000, "usd": 0.02, "seconds": 0.1}},
]
FAILS: list[tuple[dict[str, Any], str]] = [
    ({"status": "failed"}, "the run is completed, not failed"),
    ({"plan": ["writing"]}, "the plan gives no part to writing; it has research"),
    (
        {"events": [{"type": "turn_finish"}]},
        "no turn_finish; there are the types planned, run_completed",
    ),
    ({"events": [{"type": "planned", "actor": "ann"}]}, "the journal has no planned by ann; there are of chief"),
    ({"events": [{"type": "planned", "words": "2 parts"}]}, "no planned with '2 parts'; there is: 1 part"),
    ({"events": [FINISHED | {"count": 1}]}, "the journal has 2 of turn_finished, not 1"),
    ({"events": [FINISHED | {"count": 0}]}, "the journal has 2 of turn_finished, not 0"),
    ({"order": [FINISHED, {"type": "planned"}]}, "the journal has no planned after turn_finished"),
    ({"order": [FINISHED, FINISHED, FINISHED]}, "the journal has no turn_finished after turn_finished"),
    ({"contains": ["at dawn"]}, "does not contain 'at dawn'; it says: The lamp was lit at dusk."),
    ({"omits": ["dusk"]}, "the output contains 'dusk': The lamp was lit at dusk."),
    ({"matches": ["^lamp"]}, "the output does not match '^lamp'"),
    ({"evidence": 2}, "there are 1 pieces of evidence; there should be 2 at least"),
    ({"disagreements": 2}, "there are 1 disagreements; there should be 2 at least"),
    ({"rounds": 1}, "it was rated in 2 rounds, not 1"),
    ({"passed": True}, "the work did not pass its rating"),
    ({"unmet": []}, "unmet criteria are ['clear'], not none"),
    ({"unmet": ["clear", "short"]}, "unmet criteria are ['clear'], not ['clear', 'short']"),
    ({"missing": []}, "work is missing of ['eve'], not of nobody"),
    ({"stopped": "dollars"}, "does not say 'dollars': the budget of 4 turns is spent"),
    ({"error": "rejected"}, "its error does not say 'rejected': there is none"),
    ({"at_most": {"turns": 3}}, "it took 4 turns; 3 is the most"),
    ({"at_most": {"tokens": 999}}, "it took 1000 tokens; 999 is the most"),
    ({"at_most": {"usd": 0.01}}, "what it cost was $0.0200; $0.0100 is the most"),
]


@pytest.mark.parametrize("expect", HOLDS, ids=str)
def test_what_is_so_holds(expect: dict[str, Any]) -> None:
    assert found(expect) == []


@pytest.mark.parametrize(("expect", "says"), FAILS, ids=[says[:50] for _, says in FAILS])
def test_what_is_not_so_fails_alone_and_says_what_there_is(expect: dict[str, Any], says: str) -> None:
    [failure] = found(expect)
    assert says in failure


def test_every_key_of_what_is_expected_is_looked_at() -> None:
    """A key added to the model without a check would hold whatever happens."""
    looked_at = {key for expect, _ in FAILS for key in expect} | {"memory"}
    assert looked_at == set(Expect.model_fields)
    most = {key for expect, _ in FAILS for key in expect.get("at_most", {})} | {"seconds"}
    assert most == set(Expect.model_fields["at_most"].annotation.model_fields)  # pyright: ignore[reportOptionalMemberAccess, reportAttributeAccessIssue]


def test_seconds_are_judged_of_real_models_only() -> None:
    expect = {"at_most": {"seconds": 2.5}}
    assert found(expect) == []
    assert found(expect, real=True) == ["it took 3.0 s; 2.5 s is the most"]


def test_a_cost_that_nobody_knows_is_not_within_a_limit() -> None:
    usage = USAGE.model_copy(update={"cost_usd": None})
    assert "is not known" in found({"at_most": {"usd": 1.0}}, usage=usage)[0]


def test_a_run_that_failed_is_told_with_its_error() -> None:
    failed: dict[str, Any] = {"status": "failed", "error": "nobody approved it", "result": None}
    assert found({}, **failed) == ["the run is failed, not completed: nobody approved it"]
    assert found({"status": "failed", "error": "nobody approved"}, **failed) == []


def test_memory_is_looked_into_for_what_it_has_and_has_not() -> None:
    wanted = {"memory": [{"search": "lamp", "contains": ["dusk"], "omits": ["dawn"]}]}
    assert found(wanted, memory=("lit at dusk",)) == []
    assert found(wanted, memory=("lit at dawn",)) == [
        "a search for 'lamp' does not give 'dusk'; it gives: lit at dawn",
        "a search for 'lamp' gives 'dawn', which should not be remembered",
    ]
    block = {"memory": [{"agent": "librarian", "label": "human", "contains": ["tea"]}]}
    assert found(block, memory=("",)) == ["the block human of librarian does not give 'tea'; it gives: nothing"]


def test_the_reply_of_a_chat_is_its_output_and_it_has_no_journal() -> None:
    chat = Seen("Good day.", USAGE, 0.1)
    assert failures(Expect(contains=("Good day",)), chat) == []
    assert len(failures(Expect.model_validate({"events": [FINISHED], "contains": ["Night"]}), chat)) == 2


def test_of_several_limits_the_one_most_used_counts() -> None:
    expect = Expect.model_validate({"at_most": {"turns": 8, "tokens": 1_250, "usd": 1.0}})
    assert used(expect, USAGE) == pytest.approx(0.8)
    assert used(Expect(), USAGE) is None
