"""How many passages have a word, and by which words of a query it pays to look.

The rarest words of a query tell almost all that its ranking is made of, and the most frequent cost almost all of its
time: a word of every second passage is in fifty thousand of a hundred thousand. So a search begins with the rarest
words, as many as have few enough passages together, and takes more of them only where it finds too little.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_REMEMBERED = 4_000
_SECONDS = 600.0
_FREQUENT = 500
_MORE = 8

_known: WeakKeyDictionary[Any, dict[tuple[str, str], tuple[float, int]]] = WeakKeyDictionary()
"""The frequent words of each database, and how many passages, for ten minutes: counting is what takes time."""


@dataclass(frozen=True, slots=True)
class Counted:
    """How many passages have each word, none more than `most` + 1: a word of more than `most` is frequent.

    `places` are the ids of those that have it, where they were seen in counting.
    """

    of: Mapping[str, int]
    most: int
    places: Mapping[str, Sequence[int]] = field(default_factory=dict[str, "Sequence[int]"])


async def rarities(
    db: AsyncConnection,
    index: str,
    words: Sequence[str],
    count: Callable[[Sequence[str]], Awaitable[Mapping[str, int]]],
) -> dict[str, int]:
    """How many passages have each word; `count` counts those that are not known."""
    known = _known.setdefault(cast("Any", db.sync_engine if hasattr(db, "sync_engine") else db.engine), {})
    now = time.monotonic()
    counts = {w: known[index, w][1] for w in words if (index, w) in known and known[index, w][0] > now}
    if unknown := [word for word in words if word not in counts]:
        counted = await count(unknown)
        if len(known) > _REMEMBERED:
            known.clear()
        known.update({(index, w): (now + _SECONDS, n) for w, n in counted.items() if n > _FREQUENT})
        counts |= counted
    return counts


async def passages(db: AsyncConnection, count: Callable[[], Awaitable[int]]) -> int:
    """About how many passages the record has: `count` counts them, where many were not counted lately."""

    async def all_of_them(_: Sequence[str]) -> Mapping[str, int]:
        return {"": await count()}

    return (await rarities(db, "passages", [""], all_of_them))[""]


def choices(counted: Counted) -> Iterator[tuple[list[str], bool]]:
    """What to look for: first the rarest words, then more of them, at last all; each time only if there are more.

    The second says whether there are frequent words among them: ranking whatever has one of these takes long.
    """
    counts = counted.of
    there = sorted((word for word, n in counts.items() if n), key=lambda word: (counts[word], word))
    taken = 0
    for room in (counted.most, _MORE * counted.most):
        fit = 0
        for word in there:
            room -= counts[word]
            fit += room >= 0 and counts[word] <= counted.most
        if fit > taken:
            taken = fit
            yield there[:fit], False
    if taken < len(there):
        yield there, True


def weights(counts: Mapping[str, int], passages: int) -> dict[str, float]:
    """How much each word tells, from 0 to 1: the rarer the more."""
    most = math.log(1 + max(passages, 1))
    return {word: math.log(1 + max(passages, 1) / (1 + n)) / most for word, n in counts.items()}


def by_length(sums: Mapping[int, float], lengths: Mapping[int, int]) -> dict[int, float]:
    """The sums as BM25 has them for texts of these lengths: what a short text says counts more than a mention."""
    usual = max(1.0, sum(lengths.values()) / max(1, len(lengths)))
    return {n: value * 2.2 / (1 + 1.2 * (0.25 + 0.75 * lengths[n] / usual)) for n, value in sums.items()}
