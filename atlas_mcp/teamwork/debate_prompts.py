"""What is asked in a debate: statements of the sides, the points at issue, and the moderator's summary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.debate import MAX_POINTS, Outcome, Points, Statement
from atlas_mcp.model.sections import section
from atlas_mcp.model.work import Findings
from atlas_mcp.teamwork.prompts import bullets, compose, materials_of
from atlas_mcp.teamwork.room import fit_texts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from atlas_mcp.model.task import TeamTask

_ROOM = 60_000


def statement(task: TeamTask, name: str, points: Sequence[str], others: Mapping[str, str], recalled: str = "") -> str:
    """For a debater: what it holds; with points, also how it stands to each. `recalled`: what is remembered."""
    if points:
        task_now = f"""You are {name} in a debate about the goal below. The others' last statements and the <points> \
at issue are given. Answer the strongest of what they say against you, give way where they are right, and vote on \
every point by its number: agree, disagree or undecided, each with its reason in a sentence. Change a vote when you \
were convinced, and only then."""
    else:
        task_now = f"""You are {name} in a debate about the goal below. Say what you hold and why, as your persona \
would: one clear position in your first sentence, then your strongest grounds. The others speak at the same time; you \
will answer each other later. Leave `votes` empty."""
    lead = f"""{task_now} Quote the materials where they bear you out; a quote is looked up, and thrown out when it \
is not there word for word. Invent no source. At most some 300 words."""
    return compose(
        lead,
        section("goal", task.goal),
        section("criteria", bullets(task.criteria)),
        *materials_of(task.materials),
        section("points", _numbered(points)) if points else "",
        *_said(others),
        recalled,
        answer=Statement,
    )


def points(task: TeamTask, said: Mapping[str, str]) -> str:
    """For the moderator: what the sides differ in."""
    lead = f"""You moderate a debate about the goal below; the sides have spoken for the first time. Say what is at \
issue: 2 to {MAX_POINTS} points, each one sentence that a side can agree or disagree with, in words that favour \
nobody. Take those that decide the question, and those on which you expect agreement as well as those on which you do \
not."""
    return compose(lead, section("goal", task.goal), *_said(said), answer=Points)


def conclusion(task: TeamTask, said: Mapping[str, str], outcome: Outcome, recalled: str = "") -> str:
    """For the moderator: what came of it. `said` are the last statements, as findings; `recalled` is what is remembered
    of such things."""
    level = "not known" if outcome.agreement is None else f"{outcome.agreement:.2f} of 1"
    lead = """The debate about the goal below is over, and you moderated it. Write what it comes to, as the answer to \
the goal: what all hold, what the better grounds speak for, and what stays open and why. Say who holds what where \
they differ, and do not decide by a count of votes. Keep the evidence of the statements, unchanged; add nothing that \
nobody said. Raters who did not take part will judge it by every one of the <criteria>."""
    return compose(
        lead,
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
