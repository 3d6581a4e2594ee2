"""The rounds of a task beside each other: what each came to, and what had been changed since the one before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from atlas_mcp.model.result import Check, Round
from atlas_mcp.model.work import Draft, DraftSection
from atlas_mcp.teamwork.inspection import failed
from atlas_mcp.teamwork.planning import count

MOST_NAMED = 6


def compare(
    drafts: Mapping[int, Draft],
    means: Mapping[str, Mapping[str, float]],
    checks: Mapping[int, Sequence[Check]],
) -> list[Round]:
    """A line for each round, in order; `means` are by the round's number as text."""
    return [
        Round(
            round=number,
            mean=round(fmean(scores.values()), 2) if (scores := means.get(str(number), {})) else None,
            criteria={criterion: round(score, 2) for criterion, score in scores.items()},
            checks_failed=len(failed(checks.get(number, ()))),
            changed=_changed(drafts.get(number - 1), draft, means.get(str(number - 1), {}), scores),
        )
        for number, draft in sorted(drafts.items())
    ]


def _changed(before: Draft | None, now: Draft, old: Mapping[str, float], new: Mapping[str, float]) -> str:
    if before is None:
        return f"the first text: {count(len(now.sections), 'section')}, {count(_words(now.sections), 'word')}"
    known = {s.id: s for s in before.sections}
    lines = [
        f"{s.id} revised ({_words([known[s.id]])} to {_words([s])} words)" if s.id in known else f"{s.id} added"
        for s in now.sections
        if known.get(s.id) != s
    ]
    told = lines[:MOST_NAMED] + ([f"{len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else [])
    told += [f"{c!r} {old[c]:.1f} to {new[c]:.1f}" for c in new if c in old and old[c] != new[c]]
    return "; ".join(told)


def _words(sections: Sequence[DraftSection]) -> int:
    return sum(len(s.text.split()) for s in sections)
