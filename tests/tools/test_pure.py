"""What the pure tools answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[str], Callable[..., Any]]


@pytest.mark.parametrize(
    ("expression", "result"),
    [
        ("0.1 + 0.2", "0.3"),
        ("1 / 3", "0.333333333333333 (exactly 1/3)"),
        ("(1250 - 980) / 980 * 100", "27.5510204081633 (exactly 1350/49)"),
        ("2 ^ 10", "1024"),
        ("2 ** -2", "0.25"),
        ("-7 // 2", "-4"),
        ("-0.05 * 1", "-0.05"),
        ("1e-3 + 1_000", "1000.001"),
        ("sqrt(2.25)", "1.5"),
        ("sqrt(2)", "1.4142135623731"),
        ("round(2 / 3, 2)", "0.67"),
        ("mean(1, 2, 4)", "2.33333333333333 (exactly 7/3)"),
        ("median(3, 1, 2) + max(1, 5) - min(2, 0.5)", "6.5"),
        ("stdev(2, 4, 4, 4, 5, 5, 7, 9)", "2.1380899352994"),
        ("100 × (1 + 3 / 100) ^ 10", "134.391637934412"),
        ("factorial(20)", "2432902008176640000"),
        ("8 ** (1/3)", "2"),
        ("log(e) + sin(0) + floor(2.7) + ceil(2.1)", "6"),
        ("0 / 5", "0"),
    ],
)
def test_calculate_is_exact_where_it_can_be(tool: Load, expression: str, result: str):
    said = tool("calculate")(expression)
    assert said.startswith(f"{expression} = {result}")


@pytest.mark.parametrize(
    ("expression", "said"),
    [
        ("1 / 0", "divides by zero"),
        ("", "cannot be read"),
        ("2 +", "cannot be read"),
        ("9 ** 9 ** 9", "too large"),
        ("exp(1000)", "too large"),
        ("factorial(100000)", "0 to 1000"),
        ("(-8) ** 0.5", "not real"),
        ("__import__('os')", "nothing that this tool can calculate"),
        ("open('/etc/passwd')", "nothing that this tool can calculate"),
        ("x + 1", "nothing that this tool can calculate"),
        ("1,250 + 3", "nothing that this tool can calculate"),
        ("True + 1", "nothing that this tool can calculate"),
        ("'a' * 3", "nothing that this tool can calculate"),
        ("[1, 2]", "nothing that this tool can calculate"),
        ("sqrt()", "nothing that this tool can calculate"),
        ("sqrt(-1)", "math domain error"),
        ("1" * 1001, "limit is 1,000"),
    ],
)
def test_calculate_says_what_it_cannot(tool: Load, expression: str, said: str):
    with pytest.raises(ValueError, match=said):
        tool("calculate")(expression)


def test_compare_options_puts_the_best_first_and_says_what_decides(tool: Load):
    scores = {"train": {"cost": 4, "time": 3}, "plane | fast": {"cost": 2, "time": 5}}
    said = tool("compare_options")(scores, {"cost": 2, "time": 1})
    lines = said.splitlines()
    assert lines[0] == "| Option | cost (weight 2) | time (weight 1) | Weighted mean |"
    assert lines[2] == "| train | 4 | 3 | 3.67 |"
    assert lines[3].startswith("| plane \\| fast |")
    assert "Best: train" in said
    assert "without cost it would be plane" in said


def test_compare_options_counts_alike_without_weights_and_admits_a_tie(tool: Load):
    assert "Tie between a, b" in tool("compare_options")({"a": {"x": 1, "y": 2}, "b": {"x": 2, "y": 1}})
    assert "No single criterion decides it." in tool("compare_options")({"a": {"x": 2, "y": 2}, "b": {"x": 1, "y": 1}})


@pytest.mark.parametrize(
    ("scores", "weights", "said"),
    [
        ({"a": {"x": 1}}, None, "at least two options"),
        ({"a": {}, "b": {}}, None, "at least one criterion"),
        ({"a": {"x": 1}, "b": {"y": 1}}, None, "no score for 'y'"),
        ({"a": {"x": 1}, "b": {"x": 2}}, {"z": 1}, "check x, z"),
        ({"a": {"x": 1}, "b": {"x": 2}}, {"x": 0}, "not all zero"),
    ],
)
def test_compare_options_refuses_what_cannot_be_compared(tool: Load, scores: Any, weights: Any, said: str):
    with pytest.raises(ValueError, match=said):
        tool("compare_options")(scores, weights)


def test_text_statistics_measure_a_text(tool: Load):
    said = tool("text_statistics")("One two three. Four five!\n\nA new paragraph, well-made.")
    assert "words: 9" in said
    assert "sentences: 3" in said
    assert "paragraphs: 2" in said
    assert "longest sentence: A new paragraph, well-made." in said
    with pytest.raises(ValueError, match="no words"):
        tool("text_statistics")(" … ")
