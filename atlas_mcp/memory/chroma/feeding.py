"""How Chroma comes to have the vectors that the record has, and none else.

Promise: nothing is taken from the outbox before Chroma has it, and what is told is the record's state at that time, not
what the outbox says: told twice, or again after a crash, it is the same. One feeder at a time.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import delete, select

from atlas_mcp.memory.chroma.collection import OPEN_SECONDS
from atlas_mcp.memory.chroma.process import ChromaFailed
from atlas_mcp.memory.vector_rows import (
    RENEW,
    TOPIC,
    block_of,
    fingerprints,
    numbers,
    parted,
    there_are_any,
    waiting,
)
from atlas_mcp.store.memory_tables import outbox

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterable, Sequence

    from numpy.typing import NDArray

    from atlas_mcp.memory.chroma.collection import ChromaVectors
    from atlas_mcp.store.record import Record

OUTBOX = "outbox"
"""Who deletes from the outbox writes under this name."""
_AT_ONCE = 500
_SAMPLE = 32
_LARGE_SAMPLE = 200
_NEAREST = 10
_SAME = 0.999
_MISSES = 10
"""One in so many vectors may fail to find itself: the index is approximate."""


@dataclass(frozen=True)
class Told:
    """How many items the outbox has fewer, whose vectors Chroma refused, and whether a copy made anew is wanted."""

    items: int
    refused: Sequence[int] = ()
    renew: bool = False


async def drain(record: Record, chroma: ChromaVectors) -> Told:
    """Tell Chroma what the outbox says next."""
    changed: dict[str, set[int]] = defaultdict(set)
    async with record.read() as db:
        of = select(outbox.c.seq, outbox.c.item).where(outbox.c.topic == TOPIC)
        rows = (await db.execute(of.order_by(outbox.c.seq).limit(_AT_ONCE))).all()
    for row in rows:
        if (part := parted(row.item)) is None:
            return Told(0, renew=True)
        changed[part[0]].add(part[1])
    refused = [one for name, ids in changed.items() for one in await _tell(record, chroma, name, ids)]
    await _done(record, [row.seq for row in rows])
    return Told(len(rows), refused)


async def forget_outbox(record: Record, *, only_renewals: bool = False) -> None:
    """Delete what it has for us: what it says was done, or nobody is to be told."""
    which = [outbox.c.topic == TOPIC, *([outbox.c.item == RENEW] if only_renewals else [])]
    async with record.write(OUTBOX) as db:
        await db.execute(delete(outbox).where(*which))


async def examine(record: Record, chroma: ChromaVectors, *, thoroughly: bool) -> None:
    """See whether vectors find themselves, and whether one can be written. ChromaFailed where not; it may crash."""
    async with record.read() as db:
        names = await fingerprints(db)
    for name in names:
        async with record.read() as db:
            late = await waiting(db, name, 1 << 20) or set[int]()
            known = await numbers(db, name)
        both = np.setdiff1d(np.intersect1d(known, await chroma.numbers(name)), np.array(sorted(late), dtype=np.int64))
        chosen = _sampled(both, _LARGE_SAMPLE if thoroughly else _SAMPLE)
        async with record.read() as db:
            block = await block_of(db, name, chosen)
        if not len(block.ids):
            continue
        answers = await chroma.nearest(name, block.matrix, _NEAREST, seconds=OPEN_SECONDS)
        lost = sum(not _finds(int(own), found) for own, found in zip(block.ids, answers, strict=True))
        if lost > len(block.ids) // _MISSES:
            raise ChromaFailed(f"{lost} of {len(block.ids)} vectors are not found in Chroma's files: they are damaged.")
        await chroma.put(name, block.part(slice(0, 1)))


async def make_whole(record: Record, chroma: ChromaVectors, there: Iterable[str]) -> AsyncGenerator[tuple[int, int]]:
    """Give it what it lacks and take what is too much, and say before each step how many of how many it has.

    What the outbox has by now is done with that, and taken from it.
    """
    async with record.read() as db:
        names = await fingerprints(db)
        of = select(outbox.c.seq, outbox.c.item).where(outbox.c.topic == TOPIC, outbox.c.item != RENEW)
        told = (await db.execute(of)).all()
    for name in set(there) - set(names):
        await chroma.drop(name)
    for name in names:
        async with record.read() as db:
            wanted = await numbers(db, name)
        have = await chroma.numbers(name)
        # What both have may have come anew under the number of what went.
        changed = [part[1] for row in told if (part := parted(row.item)) and part[0] == name]
        lacking = np.union1d(np.setdiff1d(wanted, have), np.intersect1d(wanted, np.array(changed, dtype=np.int64)))
        extra = np.setdiff1d(have, wanted)
        for part in _parts(extra):
            await chroma.remove(name, part)
        for n, part in enumerate(_parts(lacking)):
            yield len(wanted) - len(lacking) + n * _AT_ONCE, len(wanted)
            async with record.read() as db:
                block = await block_of(db, name, part)
            if len(block.ids):
                await chroma.put(name, block)
    await _done(record, [row.seq for row in told])


async def _done(record: Record, seqs: Sequence[int]) -> None:
    # By number, not up to one: in PostgreSQL a smaller one may be committed later.
    for n in range(0, len(seqs), _AT_ONCE):
        async with record.write(OUTBOX) as db:
            await db.execute(delete(outbox).where(outbox.c.seq.in_(seqs[n : n + _AT_ONCE])))


async def _tell(record: Record, chroma: ChromaVectors, name: str, ids: set[int]) -> list[int]:
    async with record.read() as db:
        block = await block_of(db, name, ids)
        left = bool(len(block.ids)) or await there_are_any(db, name)
    if not left:
        await chroma.drop(name)
        return []
    refused = await chroma.put(name, block) if len(block.ids) else []
    if gone := ids - {int(one) for one in block.ids}:
        await chroma.remove(name, gone)
    return refused


def _finds(own: int, found: Sequence[tuple[int, float]]) -> bool:
    near = [number for number, similarity in found if similarity > _SAME]
    # Of texts that are often the same, others may come first.
    return own in near or (len(near) == len(found) == _NEAREST)


def _sampled(ids: NDArray[np.int64], most: int) -> Collection[int]:
    chosen = np.random.default_rng().choice(ids, most, replace=False) if len(ids) > most else ids
    return [int(one) for one in chosen]


def _parts(ids: NDArray[np.int64]) -> list[list[int]]:
    return [[int(one) for one in ids[n : n + _AT_ONCE]] for n in range(0, len(ids), _AT_ONCE)]
