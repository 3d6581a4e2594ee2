"""What an attempt at an example is scored by, and the pairs of two evaluations: arithmetic, nobody is asked.

Of quality, more is better: `rating` (1 to 5, the mean of the criteria), and the shares, 0 to 1, of the deterministic
`checks` that passed, of the expected `criteria` that reached 4.0, of the expected `phrases` that the text says, and of
the expected `sources` that it cites. Of expense, less is better: `seconds`, `tokens`, `cost_usd`.

A failed attempt has the worst of every score of quality, since its user would have got nothing; one that was cut for
the evaluation's own budget has none at all. What nobody rated has no rating, and is not compared by it.
"""

from __future__ import annotations

from statistics import fmean
from typing import TYPE_CHECKING

from atlas_mcp.model.result import PASS_MARK
from atlas_mcp.watch.evaluation.paired import Score

if TYPE_CHECKING:
    from collections.abc import Iterable

    from atlas_mcp.model.evaluated import Attempt, Evaluation
    from atlas_mcp.model.example import Example
    from atlas_mcp.model.result import Rating

SCORES = (
    Score("rating"),
    Score("checks"),
    Score("criteria"),
    Score("phrases"),
    Score("sources"),
    Score("seconds", "expense", "s"),
    Score("tokens", "expense"),
    Score("cost_usd", "expense", "dollars"),
)
BY_RATERS = frozenset({"rating", "criteria"})
WORST_RATING = 1.0
_POINTS_OUT = "criteria"  # a check by words alone, which fails no text
_PLAIN = str.maketrans(dict.fromkeys('“”„«»‘’‚`"', "'") | dict.fromkeys("‐‑‒–—−", "-") | dict.fromkeys("*_#\\"))


def criteria_means(ratings: Iterable[Rating]) -> dict[str, float]:
    """Each criterion's mean over its raters; of several scores of one rater the lowest counts."""
    found: dict[str, dict[str, float]] = {}
    for rating in ratings:
        of_raters = found.setdefault(rating.criterion, {})
        of_raters[rating.rater] = min(rating.score, of_raters.get(rating.rater, rating.score))
    return {criterion: fmean(given.values()) for criterion, given in found.items()}


def scores(example: Example, attempt: Attempt) -> dict[str, float]:
    """The scores of an attempt that has ended, and was rated if it could be."""
    if attempt.status == "cut":
        return {}
    worst = attempt.status == "failed"
    found = {name: 0.0 if worst else share for name, share in _shares(example, attempt).items()}
    if worst:
        found["rating"] = WORST_RATING
    elif attempt.ratings:
        found["rating"] = fmean(attempt.ratings.values())
    usage = attempt.usage
    found |= {"seconds": attempt.seconds, "tokens": float(usage.input_tokens + usage.output_tokens)}
    if usage.cost_usd is not None:
        found["cost_usd"] = usage.cost_usd
    return found


def pairs(a: Evaluation, b: Evaluation) -> dict[Score, dict[str, tuple[float, float]]]:
    """Each score's values of A and B, by the id in A of every example that both were scored on and that is the same.

    What was rated by different raters is not paired by its ratings.
    """
    of_a, of_b = a.by_example(), b.by_example()
    in_b = {example.digest: example.id for example in b.examples}
    both = [(e.id, in_b[e.digest]) for e in a.examples if e.digest in in_b]
    found: dict[Score, dict[str, tuple[float, float]]] = {}
    for score in SCORES:
        if score.name in BY_RATERS and a.judge != b.judge:
            continue
        values = {x: (of_a.get(x, {}).get(score.name), of_b.get(y, {}).get(score.name)) for x, y in both}
        kept = {x: (one, other) for x, (one, other) in values.items() if one is not None and other is not None}
        if kept:
            found[score] = kept
    return found


def notes(a: Evaluation, b: Evaluation) -> list[str]:
    """What to know when comparing the two, in words."""
    digests = {e.digest for e in a.examples} & {e.digest for e in b.examples}
    alone = [f"{len(e.examples) - len(digests)} of {e.name}" for e in (a, b) if len(e.examples) > len(digests)]
    told = [f"Examples that only one of them did are left out: {', '.join(alone)}."] if alone else []
    if a.judge != b.judge:
        told.append("They were rated by different raters, so their ratings are not compared.")
    for e in (a, b):
        for status, words in (("failed", "failed, and count as the worst"), ("cut", "were cut by the budget")):
            if count := sum(attempt.status == status for attempt in e.attempts):
                told.append(f"{e.name}: {count} of {len(e.attempts)} attempts {words}.")
        if count := sum(attempt.status == "completed" and not attempt.ratings for attempt in e.attempts):
            told.append(f"{e.name}: {count} attempts were not rated.")
        if e.ended_at is None:
            told.append(f"{e.name} is not finished: {len(e.attempts)} attempts were made.")
    return told


def says(text: str, phrase: str) -> bool:
    """Whether the text has the phrase; case, line breaks, kinds of quotation marks and Markdown's marks may differ."""
    return _flat(phrase) in _flat(text)


def _shares(example: Example, attempt: Attempt) -> dict[str, float]:
    expected, found = example.expected, dict[str, float]()
    failed = {check.name for check in attempt.checks if not check.passed} - {_POINTS_OUT}
    made = {check.name for check in attempt.checks} - {_POINTS_OUT}
    if example.work.kind == "team_task" and (made or attempt.status == "failed"):
        found["checks"] = 1 - len(failed) / len(made) if made else 0.0
    if expected.criteria and (attempt.ratings or attempt.status == "failed"):
        found["criteria"] = fmean((attempt.ratings or {}).get(c, 0.0) >= PASS_MARK for c in expected.criteria)
    if expected.phrases:
        found["phrases"] = fmean(says(attempt.output, phrase) for phrase in expected.phrases)
    if expected.sources:
        cited = {source.casefold() for source in attempt.sources}
        found["sources"] = fmean(s.casefold() in cited or says(attempt.output, s) for s in expected.sources)
    return found


def _flat(text: str) -> str:
    return " ".join(text.translate(_PLAIN).casefold().split())
