"""What ratings amount to: means, what falls short, who disagrees, which round was best. Arithmetic, no agents.

A rater's score for a criterion is the lowest it gave for it, so that a bad section is not averaged away; a criterion's
score is the mean over its raters. A criterion nobody rated has no score, and never passes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from atlas_mcp.model.result import PASS_MARK, Check, Rating
from atlas_mcp.model.work import Draft, Score, Verdict

SPREAD = 1.0
"""Raters whose scores for one criterion lie further apart than this disagree."""

Verdicts = Mapping[str, Verdict]


def same(criterion: str) -> str:
    """How two spellings of one criterion are compared."""
    return " ".join(criterion.split()).strip("\"'- .").casefold()


def unrated(verdict: Verdict, criteria: Sequence[str]) -> list[str]:
    """The criteria the verdict says nothing about."""
    rated = {same(s.criterion) for s in verdict.scores}
    return [c for c in criteria if same(c) not in rated]


def per_rater(verdicts: Verdicts, criterion: str) -> dict[str, float]:
    """Each rater's score for the criterion."""
    return {
        rater: min(found)
        for rater, verdict in verdicts.items()
        if (found := [s.score for s in verdict.scores if same(s.criterion) == same(criterion)])
    }


def means(verdicts: Verdicts, criteria: Sequence[str]) -> dict[str, float]:
    """The mean of each criterion that was rated."""
    return {c: fmean(found.values()) for c in criteria if (found := per_rater(verdicts, c))}


def unmet(scores: Mapping[str, float], criteria: Sequence[str]) -> list[str]:
    """The criteria below the pass mark, or without any score."""
    return [c for c in criteria if scores.get(c, 0.0) < PASS_MARK]


def disagreements(verdicts: Verdicts, criteria: Sequence[str]) -> list[str]:
    """Where raters lie more than SPREAD apart, in words."""
    found: list[str] = []
    for criterion in criteria:
        given = per_rater(verdicts, criterion)
        if given and max(given.values()) - min(given.values()) > SPREAD:
            found.append(f"{criterion}: " + ", ".join(f"{rater} {score:g}" for rater, score in given.items()))
    return found


def best_round(
    rounds: Mapping[str, Mapping[str, float]], criteria: Sequence[str], faults: Mapping[int, int] | None = None
) -> int:
    """The round that meets most criteria and in which fewest checks failed, then has the highest mean; the earlier of
    equals. 1 if none was rated."""

    def worth(number: int) -> tuple[int, float]:
        scores = rounds[str(number)]
        failed = len(unmet(scores, criteria)) + (faults or {}).get(number, 0)
        return -failed, fmean(scores.values()) if scores else 0.0

    return max(sorted(map(int, rounds)), key=worth, default=1)


def feedback(
    verdicts: Verdicts, draft: Draft, criteria: Sequence[str], checks: Sequence[Check] = ()
) -> tuple[str, frozenset[str]]:
    """What to revise, a line for each section and reason, and the ids of the sections named.

    What a check found counts, and of the ratings those of criteria that fell short, as far as they are below the mark.
    A remark on the whole, or on a section that the draft does not have, names every section.
    """
    short = {same(c): c for c in unmet(means(verdicts, criteria), criteria)}
    ids = [s.id for s in draft.sections]
    lines: dict[str, str] = {}
    for score in (s for v in verdicts.values() for s in v.scores):
        criterion = short.get(same(score.criterion))
        if criterion is None or score.score >= PASS_MARK:
            continue
        quoted = f" (“{' '.join(score.quote.split())}”)" if score.quote.strip() else ""
        for section in [score.section] if score.section in ids else ids:
            lines[f"- {section}: {criterion}: {' '.join(score.reason.split())}{quoted}"] = section
    for check in (c for c in checks if not c.passed):
        for section in [check.section] if check.section in ids else ids:
            lines[f"- {section}: {check.name}: {check.text}"] = section
    return "\n".join(lines), frozenset(lines.values())


def ratings(verdicts: Verdicts, criteria: Sequence[str], round: int) -> list[Rating]:
    """The verdicts as the result shows them, under the criteria's own names; what nobody asked for is left out."""
    known = {same(c): c for c in criteria}

    def rating(rater: str, score: Score) -> Rating:
        return Rating(
            criterion=known[same(score.criterion)],
            score=score.score,
            reason=score.reason,
            rater=rater,
            round=round,
            section=score.section,
            quote=score.quote,
        )

    return [
        rating(rater, s) for rater, verdict in verdicts.items() for s in verdict.scores if same(s.criterion) in known
    ]
