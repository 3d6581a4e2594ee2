"""Whether a rater can be relied on, by rules that can be measured. Arithmetic and cut-up texts; no agent is asked here.

Passes everything: a rater that gives the top score for every criterion rates, once in a task, the same text damaged on
purpose (see `damaged`). If it passes that on every criterion too, or cannot rate it, none of its ratings count.
Fails everything: a rater whose scores are all one and the same below the mark, while at least two others pass every
criterion and no check found a fault, does not count if it gives the same reason for everything, or did the same in the
round before. A rater that finds fault alone, but tells its reasons apart, counts: that is a disagreement.
Cannot be read: a rater whose answer cannot be used, also when asked again. Each is replaced by another able agent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import combinations

from atlas_mcp.model import wording
from atlas_mcp.model.result import PASS_MARK
from atlas_mcp.model.work import Draft, DraftSection, Verdict
from atlas_mcp.teamwork.scores import per_rater, same

TOP = 5.0
MAJORITY = 2
PASSES_ALL = "it passed a text that had been damaged on purpose as well"
FAILS_ALL = "it failed everything alike, which all others passed"
FALSE_CLAIM = "As everybody knows, this had happened 4,711 times by the year 1397."
ENDLESS, MOST_SPOILT = 120, 2_000
"""Words that are more than a sentence can have; and characters that a damaged section may have where it had fewer."""
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def all_top(verdict: Verdict, criteria: Sequence[str]) -> bool:
    """Whether it gives the top score for everything it was asked for."""
    return all(score >= TOP for score in _scores(verdict, criteria))


def passes(verdict: Verdict, criteria: Sequence[str]) -> bool:
    """Whether every criterion reaches the mark."""
    return all(score >= PASS_MARK for score in _scores(verdict, criteria))


def damaged(draft: Draft) -> Draft:
    """The text as nobody may pass it, whatever the criteria: false in what it says, and hardly to be read.

    It begins with a false claim; numbers are others; sentences come in reverse, every other one backwards, as a single
    one without end, and again and again; no section has a heading.
    """
    sections = [
        DraftSection(id=s.id, text=_spoilt(s.text, claim=FALSE_CLAIM if n == 0 else ""))
        for n, s in enumerate(draft.sections)
    ]
    return Draft(sections=tuple(sections))


def contrary(verdicts: Mapping[str, Verdict], before: Mapping[str, Verdict], criteria: Sequence[str]) -> list[str]:
    """The raters that fail everything alike, against all others."""
    found: list[str] = []
    for rater, verdict in verdicts.items():
        others = [v for name, v in verdicts.items() if name != rater]
        if len(others) < MAJORITY or not all(passes(v, criteria) for v in others) or not _alike(verdict, criteria):
            continue
        again = rater in before and _alike(before[rater], criteria)
        if again or _one_reason(verdict, criteria):
            found.append(rater)
    return found


def _scores(verdict: Verdict, criteria: Sequence[str]) -> list[float]:
    return [score for c in criteria for score in per_rater({"": verdict}, c).values()]


def _alike(verdict: Verdict, criteria: Sequence[str]) -> bool:
    scores = _scores(verdict, criteria)
    return len(set(scores)) == 1 and scores[0] < PASS_MARK


def _one_reason(verdict: Verdict, criteria: Sequence[str]) -> bool:
    """Whether at least two criteria were judged, for one reason. For a single criterion that says nothing."""
    asked = {same(c) for c in criteria}
    reasons = {same(s.criterion): s.reason for s in verdict.scores if same(s.criterion) in asked}
    return len(reasons) > 1 and all(wording.same(a, b) for a, b in combinations(reasons.values(), 2))


def _spoilt(text: str, claim: str) -> str:
    sentences = [s.strip(" .!?#") for s in _SENTENCE.split(text) if s.strip(" .!?#")]
    turned = [" ".join(reversed(s.split())) if n % 2 == 0 else s for n, s in enumerate(reversed(sentences))]
    once = re.sub(r"\d+", lambda m: str(int(m.group()[:9]) * 7 + 13), " and ".join(turned))
    times = max(2, ENDLESS // max(1, len(once.split())))
    return f"{claim} {' and '.join([once] * times)[: max(len(text), MOST_SPOILT)]}".strip()
