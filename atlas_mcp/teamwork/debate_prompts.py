"""What is asked in a debate: statements of the sides, the points at issue, and the moderator's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.debate import MAX_POINTS, Outcome, Points, Statement
from atlas_mcp.model.sections import section
from atlas_mcp.model.work import Findings
from atlas_mcp.teamwork.leads import lead
from atlas_mcp.teamwork.prompts import bullets, compose, materials_of
from atlas_mcp.teamwork.room import fit_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_mcp.model.task import TeamTask

_ROOM = 60_000


def statement(task: TeamTask, name: str, points: Sequence[str], others: Mapping[str, str], recalled: str = "") -> str:
    """For a debater: what it holds; with points, also how it stands to each. `recalled`: what is remembered."""
    return compose(
        lead(stating(points), name=name),
        section("goal", task.goal),
        section("criteria", bullets(task.criteria)),
        *materials_of(task.materials),
        section("points", _numbered(points)) if points else "",
        *_said(others),
        recalled,
        answer=Statement,
    )


def stating(points: Sequence[str]) -> str:
    """The part that a debater has: to open, or to answer to the points at issue."""
    return "statement" if points else "opening"


def points(task: TeamTask, said: Mapping[str, str]) -> str:
    """For the moderator: what the sides differ in."""
    return compose(lead("points", max_points=MAX_POINTS), section("goal", task.goal), *_said(said), answer=Points)


def conclusion(task: TeamTask, said: Mapping[str, str], outcome: Outcome, recalled: str = "") -> str:
    """For the moderator: what came of it. `said` are the last statements, as findings; `recalled` is what is remembered
    of such things."""
    level = "not known" if outcome.agreement is None else f"{outcome.agreement:.2f} of 1"
    return compose(
        lead("conclusion"),
        section("goal", task.goal),
        section("criteria", bullets(task.criteria)),
        section("context", f"Level of agreement: {level}. Still in dispute:\n{bullets(outcome.disagreements)}"),
        said,
        recalled,
        answer=Findings,
    )


def _numbered(points: Sequence[str]) -> str:
    return "\n".join(f"{n}. {' '.join(point.split())}" for n, point in enumerate(points, 1))


def _said(statements: Mapping[str, str]) -> list[str]:
    return [section("statement", text, **{"from": who}) for who, text in fit_texts(statements, _ROOM).items()]
