"""How often something happened lately, counted for all machines together.

Promise: of several at once each is counted once. While the Redis does not answer the record counts, and begins anew
with the outage: nothing that is limited by such a number can happen more than twice as often as it may.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.memory.working import Place, Working

if TYPE_CHECKING:
    from atlas_mcp.memory.redis.opening import Redis
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

_PLACE = Place(project="rates")


class Counters:
    """One caller's counters; in the record alone where there is no Redis."""

    def __init__(self, caller: Caller, record: Record, redis: Redis | None) -> None:
        self._caller = caller
        self._redis = redis
        self._record = Working(caller, record, place=_PLACE)

    async def hit(self, name: str, within: timedelta) -> int:
        """Count one more; how many there were in the span of that length that now is in, this one included."""
        span = int(datetime.now(UTC).timestamp() // within.total_seconds())
        if self._redis is not None:
            key = self._key(self._redis.space, f"{name} {span}")
            try:
                return int(await self._redis.link.call(lambda redis: _counted(redis, key, within)))
            except StoreUnavailable:
                pass  # the link has noted it, and the status tells it
        return await self._record.increment(f"{name} {span}", lifetime=within)

    def _key(self, space: str, name: str) -> str:
        whose = hashlib.sha256(f"{self._caller.id}\x1f{name}".encode()).hexdigest()
        return f"atlas:{space}:rate:{whose}"


async def _counted(redis: Any, key: str, within: timedelta) -> int:
    async with redis.pipeline(transaction=False) as both:
        both.incr(key)
        both.pexpire(key, int(within.total_seconds() * 1000))
        return (await both.execute())[0]
