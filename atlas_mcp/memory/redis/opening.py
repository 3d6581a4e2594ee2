"""Redis as the rooms have it: opened without waiting for it, kept in their task group."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.redis.bells import FarBells
from atlas_mcp.memory.redis.cache import Cache
from atlas_mcp.memory.redis.feed import feed, forsake, space_of
from atlas_mcp.memory.redis.link import Link

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from pydantic import SecretStr

    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Redis:
    """What is done by one Redis for one record, whose keys there begin with `space`."""

    link: Link
    space: str
    cache: Cache
    bells: FarBells


async def open_redis(url: SecretStr | None, record: Record, tasks: TaskGroup) -> Redis | None:
    """The Redis at that address, which is connected in the background.

    ConfigurationError for what is no such address, MissingPackage where the package is not there.
    """
    if url is None:
        tasks.start_soon(_forsake, record)
        return None
    link = Link(url)
    space = await space_of(record)
    redis = Redis(link, space, Cache(link, space), FarBells(link, space))
    for work in (link.keep, redis.bells.send, redis.bells.listen):
        tasks.start_soon(work)
    tasks.start_soon(feed, record, link, redis.cache)
    return redis


async def _forsake(record: Record) -> None:
    try:
        await forsake(record)
    except AtlasError as error:
        log.warning("the outbox is looked after at the next start: %s", error)
