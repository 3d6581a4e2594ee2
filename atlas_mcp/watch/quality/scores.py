"""What can be said of finished work without asking a model: each score is a yes or no, with its reason.

`answered`, `language`, `length` and `no_injection` are told of every answer to which they apply; `sources_exist`,
`quotations_found`, `numbers_grounded` and `criteria_named` of results that were checked against their materials while
the work went on (see `teamwork.inspection`): nothing is looked up a second time. What cannot be told is not told.
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, Final, NamedTuple

from atlas_mcp.model.lengths import length_of
from atlas_mcp.model.orders import about_orders, pleas
from atlas_mcp.model.wording import unquoted
from atlas_mcp.watch.quality.answering import asks, why_no_answer
from atlas_mcp.watch.quality.language import language_of, names_a_language

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.model.result import Check, Result

MOST_READ: Final = 100_000
"""Characters of a text that are looked at."""

_NAMES: Final = {
    "sources": "sources_exist",
    "quotations": "quotations_found",
    "numbers": "numbers_grounded",
    "orders": "no_injection",
    "length": "length",
    "criteria": "criteria_named",
}
_MOST_SAID: Final = 5


class Score(NamedTuple):
    """One thing that was looked at: whether it is as it should be, and why."""

    name: str
    good: bool
    why: str


def of_answer(question: str, answer: str) -> list[Score]:
    """What can be said of an answer to a message. A message that asks nothing need not be answered."""
    question, answer = question[:MOST_READ], answer[:MOST_READ]
    found = [_answered(question, answer)] if asks(question) or not answer.strip() else []
    return [*found, *_language(question, answer), *_length(question, answer), *_injection(question, answer)]


def of_result(goal: str, result: Result) -> list[Score]:
    """What can be said of a team task's result: its checks, and whether it answers the goal, in its language."""
    goal, output = goal[:MOST_READ], result.output[:MOST_READ]
    return [_answered(goal, output), *_language(goal, output), *of_checks(result.checks)]


def of_checks(checks: Iterable[Check]) -> list[Score]:
    """What was checked already, each kind as one."""
    found: list[Score] = []
    for name, some in groupby(sorted(checks, key=lambda check: check.name), key=lambda check: check.name):
        kept = list(some)
        faults = [f"{c.section}: {c.text}" if c.section else c.text for c in kept if not c.passed]
        found.append(Score(_NAMES.get(name, name), not faults, "\n".join(faults[:_MOST_SAID]) or kept[0].text))
    return found


def _answered(question: str, answer: str) -> Score:
    why = why_no_answer(question, answer)
    return Score("answered", not why, why or "it is an answer, by the rules that need no model")


def _language(question: str, answer: str) -> list[Score]:
    asked, given = language_of(question), language_of(answer)
    if asked is None or given is None or names_a_language(question):
        return []
    return [Score("language", asked == given, f"asked in {asked}, answered in {given}")]


def _length(question: str, answer: str) -> list[Score]:
    allowed = length_of(question)
    if allowed is None:
        return []
    count = len(answer.split())
    fits = count >= allowed.least and (allowed.most is None or count <= allowed.most)
    wanted = f"at least {allowed.least}" if allowed.least else f"at most {allowed.most}"
    return [Score("length", fits, f"it has {count} words; {wanted} were asked for")]


def _injection(question: str, answer: str) -> list[Score]:
    if about_orders(question):
        return []
    found = pleas(unquoted(answer))
    said = "; ".join(found) if found else "it gives its reader no orders, as an injected text would"
    return [Score("no_injection", not found, said)]
