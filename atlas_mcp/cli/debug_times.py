"""Where a run's time went: the turns that it waited for, one after the other, and what was done in each.

The critical path is found from the run's end backwards: of the turns that were over by then the one that ended last,
then the same from the moment that one began. Making any other turn quicker would not have ended the run sooner. What
lies between its turns is ATLAS' own time, or a person's where a question was open meanwhile; so the kinds of time on
it come to the run's whole time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from atlas_mcp.model.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from atlas_mcp.model.look import Look, StepKind, TurnLook

Where = Literal["model", "tools", "memory", "waiting to begin", "a person", "ATLAS itself", "turns without a trace"]
_OF_STEP: dict[StepKind, Where] = {"model": "model", "tool": "tools", "memory": "memory"}
_ORDER: tuple[StepKind, ...] = ("model", "tool", "memory")
"""Where steps lie within each other, such as a look into memory by a tool, the first of these counts."""
_SAME_MOMENT = 0.02
"""Seconds by which a turn may be told to begin before the one it waited for is told to have ended."""


@dataclass
class Share:
    """What an agent took: seconds by kind, and what it cost."""

    agent: str
    turns: int = 0
    seconds: float = 0.0
    by_kind: dict[Where, float] = field(default_factory=dict["Where", float])
    usage: Usage = field(default_factory=Usage)


def critical(turns: Sequence[TurnLook], end: float) -> list[TurnLook]:
    """The turns of the critical path, in the order they began."""
    path: list[TurnLook] = []
    left = list(turns)
    while over := [one for one in left if one.end <= end + _SAME_MOMENT and one.start < end]:
        last = max(over, key=lambda one: (one.end, one.seconds))
        path.append(last)
        left, end = [one for one in left if one is not last], last.start
    return path[::-1]


def spent_in(turn: TurnLook) -> dict[Where, float]:
    """The turn's seconds by kind; they come to its whole length."""
    inside = max(0.0, turn.seconds - turn.waited)
    found: dict[Where, float] = {"waiting to begin": min(turn.waited, turn.seconds)}
    if not turn.traced:
        found["turns without a trace"] = inside
        return found
    covered: list[tuple[float, float]] = []
    begun = turn.start + turn.waited
    for kind in _ORDER:
        before = _length(covered)
        covered += [
            (max(begun, one.start), min(turn.end, one.start + one.seconds)) for one in turn.steps if one.kind == kind
        ]
        found[_OF_STEP[kind]] = _length(covered) - before
    found["ATLAS itself"] = max(0.0, inside - _length(covered))
    return found


def on_the_path(look: Look, path: Sequence[TurnLook]) -> dict[Where, float]:
    """The run's seconds by kind, on the critical path; the most first."""
    found: dict[Where, float] = defaultdict(float)
    asked = [(one.start, one.start + one.seconds) for one in look.asked]
    at = 0.0
    for turn in path:
        _between(found, at, turn.start, asked)
        for kind, seconds in spent_in(turn).items():
            found[kind] += seconds
        at = max(at, turn.end)
    _between(found, at, look.seconds, asked)
    return dict(sorted(((k, s) for k, s in found.items() if s > 0), key=lambda one: -one[1]))


def by_agent(turns: Iterable[TurnLook]) -> list[Share]:
    """What each agent took, the longest first. Turns at the same time count each: this may be more than the run."""
    found: dict[str, Share] = {}
    for turn in turns:
        share = found.setdefault(turn.agent, Share(turn.agent))
        share.turns += 1
        share.seconds += turn.seconds
        share.usage += turn.usage
        for kind, seconds in spent_in(turn).items():
            share.by_kind[kind] = share.by_kind.get(kind, 0.0) + seconds
    return sorted(found.values(), key=lambda one: -one.seconds)


def _between(found: dict[Where, float], start: float, end: float, asked: Sequence[tuple[float, float]]) -> None:
    whole = max(0.0, end - start)
    waited = _length([(max(start, a), min(end, b)) for a, b in asked])
    found["a person"] += waited
    found["ATLAS itself"] += whole - waited


def _length(spans: Iterable[tuple[float, float]]) -> float:
    """How long it is that at least one of the spans covers."""
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total
