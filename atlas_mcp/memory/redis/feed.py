"""What a Redis has not heard yet of working memory is told it, from the record's outbox.

Promise: a change that was committed reaches the Redis, whoever made it and whatever died in between: it stays in the
outbox until the Redis has answered. Told twice it makes no difference.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio
from sqlalchemy import delete, insert, select, update

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.memory.working import WORKING, kept_of
from atlas_mcp.store.memory_tables import derived, outbox

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.redis.cache import Cache
    from atlas_mcp.memory.redis.link import Link
    from atlas_mcp.store.record import Record

REDIS = "redis"
LOOK_SECONDS = 0.5
_AT_ONCE = 200
_SIGN_SECONDS = 600.0
_FORSAKEN = timedelta(days=1)
log = logging.getLogger(__name__)


async def space_of(record: Record) -> str:
    """What the record's copies are called in a Redis. From now on the outbox is told of working memory."""
    async with record.write() as db:
        row = (await db.execute(select(derived.c.state).where(derived.c.name == REDIS))).scalar_one_or_none()
        if row is not None:
            await _sign(db)
            return str(row["space"])
        space = uuid4().hex[:12]
        await db.execute(insert(derived).values(name=REDIS, state={"space": space}, at=datetime.now(UTC)))
        return space


async def feed(record: Record, link: Link, cache: Cache) -> None:
    """Tell the Redis what it has not heard, for as long as this process lives."""
    signed = anyio.current_time()
    while True:
        try:
            if link.answers:
                while await _told(record, cache):
                    pass
            if anyio.current_time() - signed > _SIGN_SECONDS:
                async with record.write() as db:
                    await _sign(db)
                signed = anyio.current_time()
        except (LockTimeout, StoreUnavailable) as reason:
            log.warning("Redis is told of working memory later: %s", reason)
        await anyio.sleep(LOOK_SECONDS)


async def forsake(record: Record) -> None:
    """Tell the outbox no more of working memory, if no process with a Redis was seen for a day."""
    async with record.look() as db:
        at = (await db.execute(select(derived.c.at).where(derived.c.name == REDIS))).scalar_one_or_none()
    if at is None or datetime.now(UTC) - at < _FORSAKEN:
        return
    async with record.write() as db:
        await db.execute(delete(derived).where(derived.c.name == REDIS))
        await db.execute(delete(outbox).where(outbox.c.topic == WORKING))


async def _told(record: Record, cache: Cache) -> bool:
    """Whether there may be more to tell."""
    wanted = select(outbox.c.seq, outbox.c.item).where(outbox.c.topic == WORKING).order_by(outbox.c.seq)
    async with record.read() as db:
        rows = (await db.execute(wanted.limit(_AT_ONCE))).all()
        if not rows:
            return False
        items = list(dict.fromkeys(str(row.item) for row in rows))
        kept = await kept_of(db, items)
    for item in items:
        done = await cache.put(item, kept[item]) if item in kept else await cache.drop(item)
        if not done:
            return False
    async with record.write() as db:
        await db.execute(delete(outbox).where(outbox.c.seq.in_([row.seq for row in rows])))
    return len(rows) == _AT_ONCE


async def _sign(db: AsyncConnection) -> None:
    await db.execute(update(derived).where(derived.c.name == REDIS).values(at=datetime.now(UTC)))
