"""A memory tool's call as a change of a value: made, and taken out again to see what was there without it."""

from __future__ import annotations

import random

import pytest

from atlas_mcp.constellation.core_memory import Change, all_applied, all_undone, made_by, read_change
from atlas_mcp.errors import ToolFailed
from atlas_mcp.letta.states import ToolCall

INSERT, REPLACE = "memory_insert", "memory_replace"


def insert(new: str, line: int = -1) -> Change:
    return Change(INSERT, "human", new, line=line)


def replace(old: str, new: str) -> Change:
    return Change(REPLACE, "human", new, old=old)


@pytest.mark.parametrize(
    ("change", "value", "after"),
    [
        (insert("a"), "", "a"),
        (insert("b"), "a", "a\nb"),
        (insert("b", 0), "a", "b\na"),
        (insert("b\nc", 1), "a\nd", "a\nb\nc\nd"),
        (replace("tea", "milk"), "likes tea", "likes milk"),
        (replace(" tea", ""), "likes tea", "likes"),
    ],
)
def test_a_call_changes_the_value(change: Change, value: str, after: str) -> None:
    assert change.applied(value) == after


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (insert("a", 3), "use -1 for the end, or 0 to 1"),
        (replace("milk", "x"), "does not occur"),
        (replace("", "x"), "does not occur"),
        (replace("e", "x"), "occurs 2 times"),
    ],
)
def test_a_call_that_does_not_fit_says_why(change: Change, said: str) -> None:
    with pytest.raises(ToolFailed, match=said):
        change.applied("likes tea")


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        (INSERT, {"label": "human"}, "new_string: field required. It takes: label, new_string, insert_line."),
        (INSERT, {"label": "human", "new_string": "x", "when": "now"}, "when: extra inputs"),
        (REPLACE, {"label": "human", "new_string": "x", "old_string": 3}, "old_string: input should be"),
    ],
)
def test_arguments_that_do_not_fit_are_named(tool: str, arguments: dict[str, object], said: str) -> None:
    with pytest.raises(ToolFailed, match=said):
        read_change(tool, arguments)


def test_arguments_that_are_null_or_a_whole_number_in_another_form_are_taken() -> None:
    assert read_change(INSERT, {"label": "human", "new_string": "x", "insert_line": None}) == insert("x")
    assert read_change(INSERT, {"label": "human", "new_string": "x", "insert_line": 1.0}) == insert("x", 1)


def test_only_calls_that_succeeded_count_and_each_under_its_label() -> None:
    def call(name: str, label: str, *, ok: bool = True) -> ToolCall:
        return ToolCall(name, name, {"label": label, "new_string": "x"}, ok=ok)

    calls = [call(INSERT, "human"), call(INSERT, "team_notes", ok=False), call("conversation_search", "human")]
    assert made_by(calls) == {"human": [insert("x")]}


def test_whatever_changes_are_made_taking_them_out_gives_a_value_that_they_make_into_the_same() -> None:
    chance = random.Random(7)
    found = 0
    for _ in range(400):
        value = before = "\n".join(chance.choices(["likes tea", "name: Ada", "from Kyoto", ""], k=chance.randrange(4)))
        changes: list[Change] = []
        for _ in range(chance.randrange(1, 4)):
            lines = len(value.split("\n")) if value else 0
            change = chance.choice([
                insert(f"note {chance.randrange(9)}", chance.randrange(-1, lines + 1)),
                replace("tea", "milk"),
                replace("Ada", "Grace"),
            ])  # fmt: skip
            if (after := all_applied([change], value)) is not None:
                value, changes = after, [*changes, change]
        undone = all_undone(changes, value)
        if undone is not None:
            assert all_applied(changes, undone) == value
            found += undone == before
    assert found > 300


def test_a_change_that_left_no_trace_cannot_be_taken_out() -> None:
    assert replace("tea", "").undone("likes ") is None
    assert insert("mine").undone("somebody else's") is None
