"""What a person sees of examples, evaluations and comparisons: renderables for rich, one function a thing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from atlas_mcp.model.evaluated import Estimate, Evaluation
    from atlas_mcp.model.evaluation import Comparison, Difference
    from atlas_mcp.model.example import Example

STYLES = {"better": "green", "worse": "red", "mixed": "yellow", "noise": "dim", "failed": "red", "cut": "yellow"}
_GOAL = 60


def examples_page(examples: Sequence[Example]) -> RenderableType:
    """The examples, set by set."""
    if not examples:
        return Text("There are no examples. Make one of a run that went well: atlas-mcp eval add RUN")
    table = _table("set", "example", "of", "what is asked", "expected")
    for one in examples:
        goal = " ".join(one.work.goal.split())
        asked = f"{one.work.agent}: {goal}" if one.work.agent else goal
        table.add_row(*map(Text, (one.suite, one.id, one.run_id or "a file", _short(asked), _expected(one))))
    return table


def evaluations_page(evaluations: Sequence[Evaluation]) -> RenderableType:
    """The evaluations that are kept, with their means."""
    table = _table("evaluation", "set", "attempts", "rating", "tokens", "dollars", "state")
    for one in evaluations:
        means, cost = one.means, one.usage.cost_usd
        state = f"ended {one.ended_at:%Y-%m-%d %H:%M}" if one.ended_at else "unfinished"
        total = len(one.examples) * one.repeat
        spent = "" if cost is None else f"{cost:.4g}"
        figures = (f"{len(one.attempts)}/{total}", _figure(means.get("rating")), _figure(means.get("tokens")), spent)
        table.add_row(*map(Text, (one.name, one.suite, *figures, state)))
    return table


def evaluation_page(evaluation: Evaluation) -> RenderableType:
    """Every attempt with its scores, and the means."""
    means = evaluation.means
    table = _table("example", "status", *means)
    for attempt in evaluation.attempts:
        values = (_figure(attempt.scores.get(name)) for name in means)
        status = Text(attempt.status, STYLES.get(attempt.status, ""))
        table.add_row(Text(attempt.example), status, *map(Text, values))
    table.add_section()
    table.add_row(Text("mean", "bold"), "", *(Text(_figure(value), "bold") for value in means.values()))
    told = [(attempt, attempt.error or attempt.unrated) for attempt in evaluation.attempts]
    why = (Text(f"{one.example}: {text}", STYLES.get(one.status, "yellow")) for one, text in told if text)
    return Group(table, *why)


def comparison_page(found: Comparison) -> RenderableType:
    """Each score's difference with its interval, and what it comes to in words."""
    table = _table("score", found.a, found.b, "difference", f"{1 - found.alpha:.0%} interval", "p", "B is")
    for one in found.differences:
        row = (one.score, _figure(one.mean_a), _figure(one.mean_b), f"{one.difference:+.3g}", _ends(one))
        said = "noise" if one.verdict == "noise" else one.verdict
        table.add_row(*map(Text, row), Text(f"{one.p_adjusted:.2g}"), Text(said, STYLES[one.verdict]))
    return Group(table, Text(found.text))


def estimate_words(estimate: Estimate) -> str:
    """What it will take, in a sentence."""
    count = f"{estimate.attempts} attempt{'' if estimate.attempts == 1 else 's'}"
    if estimate.free:
        return f"{count}, about {estimate.tokens:,} tokens of models that cost nothing."
    cost = "what they cost is not known" if estimate.cost_usd is None else f"at most about ${estimate.cost_usd:,.2f}"
    beside = f" {estimate.unknown} of them do not say what they took, and are not in it." if estimate.unknown else ""
    return f"{count}, about {estimate.tokens:,} tokens: {cost}.{beside}"


def _expected(example: Example) -> str:
    wanted = example.expected
    counts = (("phrases", wanted.phrases), ("sources", wanted.sources), ("criteria", wanted.criteria))
    return ", ".join(f"{len(found)} {what}" for what, found in counts if found)


def _ends(one: Difference) -> str:
    return "too few" if one.low is None or one.high is None else f"{one.low:+.3g} to {one.high:+.3g}"


def _figure(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def _short(text: str) -> str:
    return text if len(text) <= _GOAL else text[: _GOAL - 1] + "…"


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
