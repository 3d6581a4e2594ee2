"""The vectors: each belongs to a passage and is one, in the record; and Chroma has the same ones, and finds them."""

from __future__ import annotations

import math
from array import array
from typing import TYPE_CHECKING

import anyio
from sqlalchemy import delete, exists, func, or_, select, tuple_

from atlas_mcp.errors import Unavailable
from atlas_mcp.memory.checks.found import MOST, problem, told
from atlas_mcp.memory.fingerprints import kept
from atlas_mcp.model.checked import StoreCheck
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.chroma.collection import ChromaVectors
    from atlas_mcp.memory.hybrid import HybridMemory

_LENGTH = 0.01  # what a vector's may differ from 1
_ONE_IN = 10
"""One in so many vectors may fail to find itself in Chroma: its index is approximate."""
_NEAREST = 10
_SAME = 0.999
_AGAIN_SECONDS = 2.0
_RENEW_SECONDS = 60.0


async def look(memory_of: HybridMemory, sample: int, *, repair: bool) -> StoreCheck:
    """All by their sizes, and some by their numbers. What is deleted is made again by the embedder."""
    async with memory_of.record.read() as db:
        wrong = await _wrong_sizes(db)
        some = select(vector.c.passage).order_by(func.random()).limit(sample)
        rows = (await db.execute(select(vector).where(vector.c.passage.in_(some)))).all()
        homeless = ~exists().where(passage.c.id == vector.c.passage)
        lost = (await db.execute(select(vector.c.fingerprint, vector.c.passage).where(homeless).limit(MOST))).all()
    wrong |= {(row.fingerprint, row.passage) for row in rows if not _is_one(row.data)}
    if repair and (wrong or lost):
        bad = tuple_(vector.c.fingerprint, vector.c.passage).in_([*wrong, *map(tuple, lost)])
        async with memory_of.record.write() as db:
            await db.execute(delete(vector).where(bad))
    found = [
        *problem("vectors are none of their embedder's", len(wrong), mended=repair),
        *problem("vectors belong to no passage", len(lost), mended=repair),
    ]
    return told("vectors", len(rows), found)


async def _wrong_sizes(db: AsyncConnection) -> set[tuple[str, int]]:
    sizes = [
        (vector.c.fingerprint == one.fingerprint) & (func.length(vector.c.data) != 4 * one.dimension)
        for one in await kept(db)
    ]
    wanted = select(vector.c.fingerprint, vector.c.passage).where(or_(False, *sizes)).limit(MOST)
    return {(row.fingerprint, row.passage) for row in await db.execute(wanted)}


def _is_one(data: bytes) -> bool:
    if len(data) % 4:
        return False
    length = math.sqrt(sum(x * x for x in array("f", data)))
    return abs(length - 1) < _LENGTH  # false for what is not a number, too


async def look_at_chroma(memory_of: HybridMemory, sample: int, *, repair: bool) -> StoreCheck:
    """The numbers that it has, and whether some vectors find themselves; by the process that keeps it only."""
    chroma = memory_of.vectors.chroma
    if (asked := chroma.asked) is None:
        room = memory_of.vectors.room()
        health = "warning" if chroma.stage == "failing" else "idle"
        return StoreCheck(store="chroma", health=health, text=room.text)
    try:
        lacking, extra, lost, looked_at = await _compared(memory_of, asked, sample)
        if lacking or extra:  # what changes just now differs for a moment
            await anyio.sleep(_AGAIN_SECONDS)
            again = await _compared(memory_of, asked, 0)
            lacking, extra = lacking & again[0], extra & again[1]
    except Unavailable as failure:
        return StoreCheck(store="chroma", health="warning", text=f"It could not be asked: {failure}")
    lost = lost if lost > looked_at // _ONE_IN else 0
    mended = repair and bool(lacking or extra or lost) and await memory_of.vectors.renew(_RENEW_SECONDS)
    found = [
        *problem("vectors are lacking", len(lacking), mended=mended),
        *problem("vectors are too many", len(extra), mended=mended),
        *problem("vectors do not find themselves", lost, mended=mended),
    ]
    return told("chroma", looked_at, found)


_Ids = set[tuple[str, int]]


async def _compared(memory_of: HybridMemory, asked: ChromaVectors, sample: int) -> tuple[_Ids, _Ids, int, int]:
    import numpy as np

    from atlas_mcp.memory.chroma.collection import HANG_SECONDS
    from atlas_mcp.memory.vector_rows import block_of, fingerprints, numbers, waiting

    lacking: _Ids = set()
    extra: _Ids = set()
    lost = looked_at = 0
    async with memory_of.record.read() as db:
        names = await fingerprints(db)
    for name in names:
        have = {int(one) for one in await asked.numbers(name)}
        async with memory_of.record.read() as db:
            late = await waiting(db, name, 1 << 20) or set[int]()
            known = {int(one) for one in await numbers(db, name)}
            both = np.array(sorted((known & have) - late), dtype=np.int64)
            chosen = np.random.default_rng().choice(both, min(sample, len(both)), replace=False)
            block = await block_of(db, name, [int(one) for one in chosen])
        lacking |= {(name, one) for one in known - have - late}
        extra |= {(name, one) for one in have - known - late}
        if len(block.ids):
            answers = await asked.nearest(name, block.matrix, _NEAREST, seconds=HANG_SECONDS)
            looked_at += len(block.ids)
            lost += sum(not _finds(int(one), near) for one, near in zip(block.ids, answers, strict=True))
    return lacking, extra, lost, looked_at


def _finds(own: int, near: list[tuple[int, float]]) -> bool:
    same = [number for number, similarity in near if similarity > _SAME]
    return own in same or len(same) == _NEAREST  # of texts that are often the same, others may come first
