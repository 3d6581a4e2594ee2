"""The librarian's quality check: a result judged from 1 to 5 by each of its qualities; their mean must reach 4.0.

What can be measured is measured: whether what it states is supported, its claims are evidenced, what was asked is
there, and how it was rated. What cannot is the librarian's word, given with a reason in the turn in which it closes the
run. The scores are summed up by the same arithmetic as what is worth remembering (`memory.rubric`): the mean must reach
4.0, with nothing below 2. A result that falls short does not pass, and says so in `unmet` with the scores.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING, Final

from atlas_mcp.memory import rubric
from atlas_mcp.model.guard import Finding, Held
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork.planning import lacks

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from atlas_mcp.model.learning import Mark
    from atlas_mcp.model.result import Result
    from atlas_mcp.teamwork.job import Job

RULE: Final = "quality"
TOLD = "it is told in the result's `unmet`, and the result does not pass"
_SUPPORT = frozenset({"sources", "quotations", "numbers"})
_FAULT = 1.5
"""What each fault found in the text takes from the score of its support."""

_LOSS = 0.75
"""What each thing that is missing takes from the score of its completeness."""

_WITHOUT_EVIDENCE = 2.0
"""The score of a result without any evidence where there were materials to quote."""


def measured(result: Result, *, materials: bool, absent: Collection[str] = ()) -> dict[str, float]:
    """The qualities that can be measured, from 1 to 5. Workers that are `absent`, for want of a tool, owe nothing."""
    faults = [check for check in result.checks if check.name in _SUPPORT and not check.passed]
    refused = [one for one in result.missing if one.what.startswith("evidence for:")]
    owing = [one for one in result.missing if one.agent not in absent]
    lost = [one for one in owing if not one.what.startswith(("evidence for:", "its rating", "the ratings"))]
    found = {"complete": 5.0 - _LOSS * len(lost)}
    if any(check.name in _SUPPORT for check in result.checks):
        found["supported"] = 5.0 - _FAULT * len(faults)
    if result.evidence or refused:
        found["evidenced"] = 1 + 4 * len(result.evidence) / (len(result.evidence) + len(refused))
    elif materials:
        found["evidenced"] = _WITHOUT_EVIDENCE
    if means := _means(result):
        found["rated"] = fmean(means.values())
    return {name: round(max(1.0, score), 2) for name, score in found.items()}


def check(job: Job, node: str, result: Result, marks: Sequence[Mark]) -> tuple[Result, list[Entry]]:
    """The result with what the librarian makes of it, and what the journal is told where it falls short."""
    if job.guard is None or not job.guard.quality:
        return result, []
    librarian = job.agents.roster.with_role("librarian").name
    scores = measured(result, materials=bool(job.task.materials), absent=lacks(job))
    scores |= {f"{librarian}: {mark.quality}": mark.score for mark in marks if mark.reason.strip()}
    judged = result.model_copy(update={"quality": {**scores, "mean": rubric.total(scores)}})
    short = rubric.shortfall(scores)
    if not short:
        return judged, []
    reasons = [f"{mark.quality}: {mark.reason}" for mark in marks if mark.score < rubric.PASS_MARK]
    text = f"{librarian}'s quality check: {short}{'; ' if reasons else ''}{'; '.join(reasons)}"[:600]
    finding = Finding(layer="quality", rule=RULE, severity="medium", action="flag", text=text)
    held = Held(agent=librarian, what="result", finding=finding, then=TOLD)
    changes = {"passed": False, "unmet": [*judged.unmet, text], "guard": [*judged.guard, held]}
    data = {"layer": "quality", "rule": RULE, "part": "result", "then": TOLD, "findings": 1, "scores": scores}
    told = Entry(librarian, "guard_failed", f"{text}; {TOLD}", data=data, key=f"{node}:quality")
    return judged.model_copy(update=changes), [told]


def _means(result: Result) -> dict[str, float]:
    best = [one for one in result.compared if one.round == result.best_round]
    return best[0].criteria if best else {}
