"""All that a home remembers, behind one door: the record, and the stores that are fed from it.

Promise: the record answers whatever becomes of a store that is fed from it. Opening is cheap: those stores open in the
background, and what they are slow at delays nobody.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from atlas_mcp.memory.embedding import Embedding
    from atlas_mcp.memory.facts import Facts
    from atlas_mcp.memory.finding import Finder
    from atlas_mcp.memory.memories import Memories
    from atlas_mcp.memory.neo4j.mirror import Mirror
    from atlas_mcp.memory.redis.counters import Counters
    from atlas_mcp.memory.redis.opening import Redis
    from atlas_mcp.memory.uses import Uses
    from atlas_mcp.memory.vectors import Vectors
    from atlas_mcp.memory.working import Place, Working
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.stores import StoresConfig
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record


@dataclass
class HybridMemory:
    """What is remembered, of all callers; made by `open_memory`."""

    record: Record
    home: Path
    locks: Locks
    config: StoresConfig
    embedding: Embedding
    vectors: Vectors
    uses: Uses
    redis: Redis | None = None
    graph: Mirror | None = None

    def memories(self, caller: Caller) -> Memories:
        """The caller's memories."""
        from atlas_mcp.memory.memories import Memories

        return Memories(caller, self.record)

    def working(self, caller: Caller, place: Place | None = None, *, author: str = "atlas") -> Working:
        """The caller's working memory in that place."""
        from atlas_mcp.memory.working import Working

        return Working(caller, self.record, self.redis and self.redis.cache, place=place, author=author)

    def facts(self, caller: Caller, *, scopes: tuple[str, ...] | None = None) -> Facts:
        """The caller's facts, or those of these scopes."""
        from atlas_mcp.memory.facts import Facts

        return Facts(caller, self.record, scopes=scopes, walker=self.graph)

    @property
    def finder(self) -> Finder:
        """What searches in all of it."""
        from atlas_mcp.memory.finding import Finder

        return Finder(self.record, self.embedding, self.vectors, self.uses)

    def counters(self, caller: Caller) -> Counters:
        """How often things of this caller's happened lately."""
        from atlas_mcp.memory.redis.counters import Counters

        return Counters(caller, self.record, self.redis)


@asynccontextmanager
async def open_memory(
    record: Record, home: Path, locks: Locks, config: StoresConfig, *, shared: Locks | None = None
) -> AsyncGenerator[HybridMemory]:
    """The home's memory, until the block is left.

    `locks` are those of the home itself: its files are exclusive. `shared` are those of all that have the record.
    """
    from atlas_mcp.memory.checking import keep_checking
    from atlas_mcp.memory.embedding import Embedding
    from atlas_mcp.memory.expiring import keep_expiring
    from atlas_mcp.memory.neo4j.opening import open_mirror
    from atlas_mcp.memory.redis.opening import open_redis
    from atlas_mcp.memory.uses import Uses
    from atlas_mcp.memory.vectors import Vectors

    everybodys = shared or locks
    memory = HybridMemory(
        record,
        home,
        locks,
        config,
        Embedding(record, everybodys, home, config),
        Vectors(record, everybodys, home, config),
        Uses(record),
    )
    failure: Exception | None = None
    async with anyio.create_task_group() as tasks:
        try:
            memory.redis = await open_redis(config.redis_url, record, tasks)
            memory.graph = open_mirror(config.neo4j_url, record, everybodys, tasks)
            tasks.start_soon(memory.embedding.work)
            tasks.start_soon(memory.vectors.work)
            tasks.start_soon(memory.uses.work)
            tasks.start_soon(keep_expiring, record)
            tasks.start_soon(keep_checking, memory, everybodys)
            yield memory
        except Exception as error:  # noqa: BLE001 - raised again below: a task group would wrap it in a group
            failure = error
        finally:
            tasks.cancel_scope.cancel()
    if failure is not None:
        raise failure
