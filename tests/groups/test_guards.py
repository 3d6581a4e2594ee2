"""Agents that talk to each other come to an end: what counts as an answer, and which patterns stop them."""

from __future__ import annotations

import pytest

from atlas_mcp.model.group import MAX_TURNS, Said
from atlas_mcp.model.wording import is_receipt, same
from atlas_mcp.teamwork.guards import Bounds, check, depth, may_answer

REPORT = "The lamp burned at dusk on each of the forty nights that the log covers, says page {}."
RISK = "Prices for oil doubled in winter because no boat came for weeks, so {} is the figure that I would not trust."


def talk(*said: tuple[str, str]) -> list[Said]:
    """A conversation that the caller began, then these speakers with their texts."""
    messages = [Said(number=1, source="caller", speaker="caller", text="How was the light kept?")]
    return messages + [
        Said(number=n, source="agent", speaker=who, text=text) for n, (who, text) in enumerate(said, start=2)
    ]


def test_an_ordinary_talk_goes_on() -> None:
    assert check(talk(("a", REPORT.format(1)), ("b", RISK.format(2)), ("a", "And the wick, who trimmed it?"))) is None


def test_the_same_thing_said_three_times_by_one_agent_is_a_repeat() -> None:
    twice = [("a", REPORT.format(1)), ("b", RISK.format(1)), ("a", REPORT.format(1))]
    assert check(talk(*twice)) is None
    stop = check(talk(*twice, ("b", "Who wrote that page, and could they know it at all?"), ("a", REPORT.format(1))))
    assert stop is not None
    assert (stop.pattern, stop.reason) == ("repeat", "a said the same 3 times.")


def test_a_repeat_is_seen_through_small_changes_of_wording() -> None:
    long = " ".join(f"word{n}" for n in range(40))
    assert same(f"{long} now", f"{long} then")
    assert not same("The lamp was lit at dusk.", "The lamp was never lit in winter.")


def test_an_exchange_that_comes_back_whole_is_a_cycle() -> None:
    exchange = [("a", "After you, please, dear colleague."), ("b", "No, you go first, I insist on it."), ("c", "Well?")]
    assert check(talk(*exchange, *exchange[:2])) is None
    stop = check(talk(*exchange, *exchange))
    assert stop is not None
    assert (stop.pattern, stop.reason) == ("cycle", "a and b and c went through the same exchange again.")


def test_messages_that_outgrow_each_other_escalate_once_they_are_long() -> None:
    def growing(first: int) -> list[tuple[str, str]]:
        return [("ab"[n % 2], " ".join(f"w{n}x{i}" for i in range(int(first * 1.8**n)))) for n in range(4)]

    assert check(talk(*growing(20))) is None
    stop = check(talk(*growing(300)))
    assert stop is not None
    assert stop.pattern == "escalate"


def test_four_messages_that_add_nothing_are_stuck() -> None:
    said = [("a", REPORT.format(7)), ("b", RISK.format(7))]
    courtesies = [
        ("a", "Thanks, noted."),
        ("b", "Great, agreed."),
        ("a", "Okay, will do."),
        ("b", "Perfect, thank you."),
    ]
    assert check(talk(*said, *courtesies[:3])) is None
    stop = check(talk(*said, *courtesies))
    assert stop is not None
    assert (stop.pattern, stop.reason) == ("stuck", "the last 4 messages added nothing new.")


def test_turns_are_bounded_and_counted_from_the_callers_last_message() -> None:
    many = [("ab"[n % 2], " ".join(f"n{n}w{i}" for i in range(15))) for n in range(MAX_TURNS + 1)]
    assert check(talk(*many[:-1])) is None
    stop = check(talk(*many))
    assert stop is not None
    assert stop.pattern == "limit"
    messages = talk(*many)
    asked_again = Said(number=100, source="caller", speaker="caller", text="And in winter?")
    assert check([*messages, asked_again]) is None


def test_the_depth_counts_answers_to_answers_and_not_parallel_ones() -> None:
    chain = talk(("a", "one thing"), ("b", "another thing"), ("c", "a third thing"))
    assert depth(chain) == 3
    asked = Said(number=2, source="agent", speaker="lead", text="What do you all think?", to=["a", "b", "c"])
    replies = [
        Said(number=n, source="agent", speaker=who, text=f"thought {who}", to=["lead"])
        for n, who in enumerate("abc", 3)
    ]
    assert depth([chain[0], asked, *replies]) == 2
    stop = check(chain, Bounds(depth=2))
    assert stop is not None
    assert "deep" in stop.reason


@pytest.mark.parametrize("text", ["Thanks, noted.", "OK", "Understood, will do.", "Great, thank you!"])
def test_a_receipt_is_known(text: str) -> None:
    assert is_receipt(text)


@pytest.mark.parametrize("text", ["OK, but who pays for it?", REPORT.format(3), "No.", "The sure way is by boat."][:3])
def test_what_says_something_is_no_receipt(text: str) -> None:
    assert not is_receipt(text)


def test_nobody_answers_itself_a_receipt_the_system_or_a_tool() -> None:
    def message(source: str, speaker: str, text: str) -> Said:
        return Said.model_validate({"number": 1, "source": source, "speaker": speaker, "text": text})

    assert may_answer("a", message("caller", "caller", "Thanks."))
    assert may_answer("a", message("agent", "b", REPORT.format(1)))
    assert not may_answer("a", message("agent", "a", REPORT.format(1)))
    assert not may_answer("a", message("agent", "b", "Thanks, noted."))
    assert not may_answer("a", message("system", "atlas", "b could not answer."))
    assert not may_answer("a", message("tool", "search_materials", "Nothing was found."))
