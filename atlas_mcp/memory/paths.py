"""Walks over the graph of facts: what is around a thing, and how two things are connected.

Promise: a walk takes as many steps as are asked for and no more, meets each thing once, and looks at a bounded number
of facts, whatever the graph looks like: cycles, facts of a thing with itself, things with ten thousand neighbours.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection

    from atlas_mcp.memory.edges import Edge, Edges, View

MOST_IN_A_STEP = 20_000
MOST_LOOKED_AT = 50_000


class Around(NamedTuple):
    """The facts around a thing, nearest first, and how far from it each thing is that they touch."""

    edges: list[Edge]
    distance: dict[str, int]
    more: bool


class Path(NamedTuple):
    """The facts from one thing to another, in order, and the things on the way; none if they are not connected.

    `looked_everywhere` False: there was too much to look at, so that a connection may have been missed.
    """

    edges: list[Edge]
    things: list[str]
    looked_everywhere: bool


async def around(edges: Edges, view: View, starts: Collection[str], depth: int, limit: int) -> Around:
    """Facts at most `depth` steps away; at most `limit` of them, the nearest first."""
    distance = dict.fromkeys(starts, 0)
    found: dict[tuple[str, int], Edge] = {}
    frontier = list(starts)
    for step in range(1, depth + 1):
        # Those of the step before are met again from their other end.
        touching = await edges.touching(view, frontier, limit + len(found) + 1)
        for edge in touching:
            if (edge.id, edge.version) not in found and len(found) >= limit:
                return Around(list(found.values()), distance, more=True)
            found[edge.id, edge.version] = edge
            for end in filter(None, (edge.subject, edge.object)):
                distance.setdefault(end, step)
        frontier = [one for one, far in distance.items() if far == step]
        if not frontier:
            break
    return Around(list(found.values()), distance, more=False)


async def shortest(edges: Edges, view: View, start: str, end: str, hops: int) -> Path:
    """A shortest connection of two things over at most `hops` facts, whichever way these point."""
    sides = _Side(start), _Side(end)
    looked, everywhere = 0, True
    for _ in range(hops):
        near, far = sorted(sides, key=lambda side: len(side.frontier))
        met, seen = await near.step(edges, view, far)
        looked += seen
        everywhere = everywhere and seen <= MOST_IN_A_STEP
        if met is not None:
            return _joined(sides, met, everywhere)
        if not near.frontier:
            break
        if looked > MOST_LOOKED_AT:
            return Path([], [], looked_everywhere=False)
    return Path([], [], everywhere)


class _Side:
    """What is reached from one end, and by which fact from where."""

    def __init__(self, start: str) -> None:
        self.came: dict[str, tuple[Edge, str] | None] = {start: None}
        self.steps = {start: 0}
        self.frontier = [start]

    async def step(self, edges: Edges, view: View, other: _Side) -> tuple[str | None, int]:
        """Go one step on; the nearest thing that the other side has reached, too, and how many facts were seen."""
        touching = await edges.touching(view, self.frontier, MOST_IN_A_STEP + 1, linking=True)
        from_here, reached = set(self.frontier), list[str]()
        for edge in touching[:MOST_IN_A_STEP]:
            for one in filter(from_here.__contains__, {edge.subject, edge.object or edge.subject}):
                there = edge.other(one)
                if there is not None and there not in self.came:
                    self.came[there], self.steps[there] = (edge, one), self.steps[one] + 1
                    reached.append(there)
        self.frontier = reached
        met = [one for one in reached if one in other.came]
        return min(met, key=lambda one: other.steps[one], default=None), len(touching)

    def way_to(self, one: str) -> tuple[list[Edge], list[str]]:
        """The facts from the start to there, and the things, both in order."""
        facts: list[Edge] = []
        things = [one]
        while (came := self.came[one]) is not None:
            edge, one = came
            facts.append(edge)
            things.append(one)
        return facts[::-1], things[::-1]


def _joined(sides: tuple[_Side, _Side], met: str, everywhere: bool) -> Path:
    (first, there), (last, back) = sides[0].way_to(met), sides[1].way_to(met)
    return Path([*first, *last[::-1]], [*there, *back[::-1][1:]], everywhere)
