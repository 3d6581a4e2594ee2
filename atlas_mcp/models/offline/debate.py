"""Debates of the offline model, by rules that can be checked.

A side says the passages that answer the goal from its own angle. Points at issue are the sides' first quotations. A
side agrees with a point whose words stand in a passage it would quote itself, disagrees where a like passage has other
numbers or denies it, and is undecided on everything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from atlas_mcp.model.debate import MAX_POINTS, Points, Stand, Statement, Vote
from atlas_mcp.model.plan import Debater
from atlas_mcp.model.result import Evidence
from atlas_mcp.models.offline.angle import angle_of
from atlas_mcp.models.offline.choice import choose, overlap, weights
from atlas_mcp.models.offline.passages import Passage, passages
from atlas_mcp.models.offline.prompt import Prompt
from atlas_mcp.models.offline.words import asked_terms, negations, numbers

MOST_SIDES = 3
MOST_QUOTES = 3
MOST_POINTS = 4
_LIKE, _SAME = 0.4, 0.7


def sides(workers: Sequence[str]) -> tuple[Debater, ...]:
    """Who debates: workers that look at things from different angles, as far as there are such."""
    found: dict[str, str] = {}
    for worker in workers:
        found.setdefault(angle_of(worker.replace("_", " ")).name, worker)
    names = list(dict.fromkeys([*found.values(), *workers]))
    return tuple(Debater(name=name) for name in names[:MOST_SIDES])


def statement(prompt: Prompt) -> Statement:
    """What a side says, and its votes once there are points."""
    own = _selection(prompt)
    said = [p.line for p in own] or ["Nothing at hand bears on the goal."]
    points = [line.partition(". ")[2] for line in prompt.one("points").splitlines()]
    return Statement(
        text="\n".join(said),
        evidence=tuple(Evidence(claim=p.line, source=p.source, quote=p.text) for p in own),
        votes=tuple(_vote(n, point, _at_hand(prompt)) for n, point in enumerate(points, 1)),
    )


def points(prompt: Prompt) -> Points:
    """The first thing that each side says, then the second, each once."""
    said = [s.body.splitlines() for s in prompt.every("statement")]
    longest = max((len(lines) for lines in said), default=0)
    found = dict.fromkeys(lines[n].strip() for n in range(longest) for lines in said if n < len(lines))
    chosen = [line for line in found if line][: min(MOST_POINTS, MAX_POINTS)]
    return Points(points=tuple(chosen) or ("The goal can be answered from what is at hand.",))


def _selection(prompt: Prompt) -> list[Passage]:
    asked = asked_terms(prompt.one("goal"))
    angle = angle_of(prompt.persona.character)
    query = weights((asked, 1.0), (angle.cues, 0.7))
    return choose(_at_hand(prompt), query, MOST_QUOTES, angle=angle.cues, must=asked, anyway=True)


def _at_hand(prompt: Prompt) -> list[Passage]:
    said = [p for s in prompt.every("statement") for p in passages(s.body, "")]
    return prompt.inlined() or prompt.found() or said


def _vote(number: int, point: str, own: Sequence[Passage]) -> Vote:
    wanted = Passage(point)
    nearest = max(own, key=lambda p: overlap(p.bag, wanted.bag), default=None)
    if nearest is None or overlap(nearest.bag, wanted.bag) < _LIKE:
        return Vote(point=number, stand="undecided", reason="Nothing at hand says so or the contrary.")
    like = numbers(nearest.text) == numbers(point) and negations(nearest.text) == negations(point)
    stand: Stand = "disagree"
    if like:
        stand = "agree" if overlap(nearest.bag, wanted.bag) >= _SAME else "undecided"
    return Vote(point=number, stand=stand, reason=f"It stands there: {nearest.line}"[:300])
