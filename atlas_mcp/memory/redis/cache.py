"""The copy of working memory in a Redis, asked before the record is.

Promise: what it gives is what the record had at the latest a moment ago, or nothing: a value that it does not know, one
past its end, one of another caller, and everything while the Redis does not answer is nothing, and the record is asked.
Of two versions the later one stays, in whatever order they come. A Redis that was started anew, also from an old
snapshot, is empty to us.
"""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.memory.hits import Hits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.memory.redis.link import Link
    from atlas_mcp.memory.working import Kept

LONGEST = timedelta(minutes=5)
"""How long anything stays there without being written again."""
KEEP_LATER = """
local there = redis.call('GET', KEYS[1])
if there and string.sub(there, 1, 20) >= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ARGV[2], 'PX', ARGV[3])
return 1
"""
_VERSION = 20  # digits, as the script compares them
_GONE = ""


class Cache:
    """Working memory of all callers of one record, whose copies are called by `space`."""

    def __init__(self, link: Link, space: str) -> None:
        self._link = link
        self._space = space
        self.hits = Hits()

    async def get(self, item: str) -> Kept | None:
        """The value, if it is there for certain."""
        value = await self._get(item)
        self.hits.note(found=value is not None)
        return value

    async def _get(self, item: str) -> Kept | None:
        from atlas_mcp.memory.working import Kept

        of = self._link.generation
        found = await self._try(lambda redis: redis.get(self._key(of, item)))
        if not isinstance(found, str) or of != self._link.generation or found[_VERSION:] == _GONE:
            return None
        said: dict[str, Any] = json.loads(found[_VERSION:])
        if said["of"] != item:
            return None
        until = datetime.fromisoformat(said["until"]) if said["until"] else None
        return Kept(said["text"], until, datetime.fromisoformat(said["at"]))

    async def put(self, item: str, kept: Kept) -> bool:
        """Whether it was told; one that it has of a later time stays."""
        until = kept.until.isoformat() if kept.until else None
        said = {"of": item, "text": kept.text, "until": until, "at": kept.at.isoformat()}
        left = LONGEST if kept.until is None else min(LONGEST, kept.until - datetime.now(UTC))
        if left <= timedelta():
            return await self.drop(item)
        return await self._keep(item, kept.at, json.dumps(said), left)

    async def drop(self, item: str) -> bool:
        """Whether it was told that there is no such value; what is older than this moment does not come back."""
        return await self._keep(item, datetime.now(UTC), _GONE, LONGEST)

    async def clear(self, item: str) -> None:
        """Take out what is there, whatever its version."""
        await self._try(lambda redis: redis.delete(self._key(self._link.generation, item)))

    async def items(self, most: int) -> dict[str, Kept]:
        """Some of what lies there, by what the outbox calls it: for comparing it with the record."""
        of = self._link.generation
        keys = await self._try(lambda redis: _scan(redis, self._key(of, "")[:-64] + "*", most))
        found: dict[str, Kept] = {}
        for key in keys or ():
            text = await self._try(lambda redis, key=key: redis.get(key))
            item = json.loads(text[_VERSION:])["of"] if isinstance(text, str) and text[_VERSION:] else None
            if item is not None and (kept := await self.get(item)) is not None:
                found[item] = kept
        return found

    async def _keep(self, item: str, at: datetime, text: str, left: timedelta) -> bool:
        version = f"{int(at.timestamp() * 1_000_000):0{_VERSION}d}"
        key, milliseconds = self._key(self._link.generation, item), max(1, int(left.total_seconds() * 1000))
        return await self._try(lambda redis: redis.eval(KEEP_LATER, 1, key, version, text, milliseconds)) is not None

    async def _try(self, do: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            return await self._link.call(do)
        except StoreUnavailable:
            return None  # the link has noted it, and the status tells it

    def _key(self, generation: str, item: str) -> str:
        name = hashlib.sha256(item.encode(errors="surrogatepass")).hexdigest()
        return f"atlas:{self._space}:{generation}:working:{name}"


async def _scan(redis: Any, pattern: str, most: int) -> list[str]:
    found: list[str] = []
    async for key in redis.scan_iter(match=pattern, count=200):
        found.append(key)
        if len(found) >= most:
            break
    return found
