"""Redis: what it has of working memory is what the record has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
from sqlalchemy import select

from atlas_mcp.memory.checks.found import problem, told
from atlas_mcp.memory.working import WORKING, kept_of
from atlas_mcp.model.checked import StoreCheck
from atlas_mcp.store.memory_tables import outbox

if TYPE_CHECKING:
    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.memory.redis.opening import Redis

_AGAIN_SECONDS = 2.0


async def look(memory_of: HybridMemory, sample: int, *, repair: bool) -> StoreCheck | None:
    """Some of its copies; None where there is no Redis."""
    redis = memory_of.redis
    if redis is None:
        return None
    if not redis.link.answers:
        text = f"{redis.link.shown} does not answer: {redis.link.reason}. The record does."
        return StoreCheck(store="redis", health="warning", text=text)
    looked_at, wrong = await _differing(memory_of, redis, sample)
    if wrong:  # what changes just now differs for a moment
        await anyio.sleep(_AGAIN_SECONDS)
        wrong &= (await _differing(memory_of, redis, sample))[1]
    if repair:
        for item in wrong:
            await redis.cache.clear(item)
    return told("redis", looked_at, problem("values are not the record's", len(wrong), mended=repair), grave=True)


async def _differing(memory_of: HybridMemory, redis: Redis, sample: int) -> tuple[int, set[str]]:
    there = await redis.cache.items(sample)
    async with memory_of.record.read() as db:
        here = await kept_of(db, [*there])
        late = set((await db.execute(select(outbox.c.item).where(outbox.c.topic == WORKING))).scalars())
    return len(there), {item for item, kept in there.items() if here.get(item) != kept and item not in late}
