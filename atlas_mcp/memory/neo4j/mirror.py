"""One record's facts in a Neo4j: told what it has not heard yet, and walked over while it has heard everything.

Promise: a change that was committed reaches the Neo4j, whoever made it and whatever died in between; told twice it
makes no difference. One process at a time tells. A Neo4j that was emptied or put back to an earlier state, and one of a
record that was put back, is told everything anew. While something is not told yet, or the Neo4j does not answer within
WALK_SECONDS, nothing is walked here; after a walk that took longer, for REST_SECONDS.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

import anyio
from sqlalchemy import delete, or_, select

from atlas_mcp.errors import LockTimeout, StoreUnavailable
from atlas_mcp.memory.neo4j import state as states
from atlas_mcp.memory.neo4j.edges import GraphEdges
from atlas_mcp.memory.neo4j.telling import told_of, wiping
from atlas_mcp.store.memory_tables import entity, fact, outbox

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.edges import Edges
    from atlas_mcp.memory.neo4j.link import Link
    from atlas_mcp.memory.neo4j.state import State
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

LOCK = "neo4j"
WALK_SECONDS = 3.0
REST_SECONDS = 30.0
TELL_SECONDS = 30.0
LOOK_SECONDS = 0.5
WHOLE_SECONDS = 5.0
SIGN_SECONDS = 600.0
_AT_ONCE = 200
_WIPED_AT_ONCE = 2_000
_INDEXES = (
    "CREATE INDEX atlas_thing IF NOT EXISTS FOR (n:AtlasThing) ON (n.key)",
    "CREATE INDEX atlas_value IF NOT EXISTS FOR (n:AtlasValue) ON (n.fact_key)",
    "CREATE INDEX atlas_mirror IF NOT EXISTS FOR (n:AtlasMirror) ON (n.key)",
    "CREATE INDEX atlas_fact IF NOT EXISTS FOR ()-[f:FACT]-() ON (f.fact_key)",
)
_MARK = "MATCH (m:AtlasMirror {key: $space}) RETURN m.mark AS mark, m.before AS before, m.upto AS upto"
_SET_MARK = (
    "MERGE (m:AtlasMirror {key: $space}) SET m.space = $space, m.mark = $mark, m.before = $before, m.upto = $upto"
)
log = logging.getLogger(__name__)
_T = TypeVar("_T")


class Mirror:
    """The facts of one record in one Neo4j; `locks` are those of all that have the record."""

    def __init__(self, link: Link, record: Record, locks: Locks) -> None:
        self.link = link
        self._record = record
        self._locks = locks
        self._signed = self._rests_until = 0.0

    async def walk(self, way: Callable[[Edges], Awaitable[_T]]) -> _T | None:
        """See `facts.Walker`."""
        if not self.link.answers or anyio.current_time() < self._rests_until:
            return None
        async with self._record.look() as db:
            state, late = await states.read(db), await states.waiting(db, 1)
        if state is None or late:
            return None
        try:
            with anyio.fail_after(WALK_SECONDS):
                rows = await self.link.read(_MARK, {"space": state.space})
                if not rows or rows[0]["mark"] != state.mark:
                    return None
                return await way(GraphEdges(self.link, state.space))
        except StoreUnavailable:
            return None
        except TimeoutError:  # it answers, but the record is quicker
            self._rests_until = anyio.current_time() + REST_SECONDS
            return None

    def rested(self) -> None:
        """Walk again, without waiting until it has rested."""
        self._rests_until = 0.0

    async def late(self) -> int:
        """How many changes the Neo4j was not told yet; counted up to 10,000."""
        async with self._record.read() as db:
            return len(await states.waiting(db, 10_000))

    async def work(self) -> None:
        """Tell the Neo4j what it has not heard, for as long as this process lives."""
        await states.begin(self._record)
        while True:
            try:
                if self.link.answers:
                    await self._catch_up()
            except (LockTimeout, StoreUnavailable) as reason:
                log.warning("Neo4j is told of facts later: %s", reason)
            await anyio.sleep(LOOK_SECONDS)

    async def _catch_up(self) -> None:
        """Tell everything there is, and what comes, unless another process is at it."""
        if (held := self._locks.try_hold(LOCK)) is None:
            return
        with held, held.kept():
            for cypher in _INDEXES:
                await self.link.write([(cypher, {})], seconds=TELL_SECONDS)
            looked = -WHOLE_SECONDS
            while self.link.answers:
                if await self._told_some():
                    continue
                if anyio.current_time() - looked > WHOLE_SECONDS:
                    looked = anyio.current_time()
                    await self._look_after()
                await anyio.sleep(LOOK_SECONDS)

    async def _told_some(self) -> bool:
        """Tell some changes; whether there were any. The Neo4j has them before the record forgets to tell them."""
        async with self._record.look() as db:
            if not await states.waiting(db, 1):
                return False
        async with self._record.read() as db:
            state, rows = await states.read(db), await states.waiting(db, _AT_ONCE)
            if state is None or not rows:
                return False
            items = list(dict.fromkeys(item for _, item in rows))
            facts = await _facts_of(db, items)
            parts = [facts[start : start + _AT_ONCE] for start in range(0, max(len(facts), 1), _AT_ONCE)]
            told = [await told_of(db, state.space, part, items) for part in parts]
        if not await self._has(state, [seq for seq, _ in rows]):
            return await self._begin_anew(state)
        for statements in told:
            if statements:
                await self.link.write(statements, seconds=TELL_SECONDS)
        new, upto = replace(state, mark=uuid4().hex[:12]), rows[-1][0]
        given = {"space": state.space, "mark": new.mark, "before": state.mark, "upto": upto}
        await self.link.write([(_SET_MARK, given)])
        async with self._record.write() as db:
            if await states.read(db) == state:
                await db.execute(delete(outbox).where(outbox.c.seq.in_([seq for seq, _ in rows])))
                await states.keep(db, new)
        return True

    async def _look_after(self) -> None:
        """See whether the Neo4j has what it was told, delete there what is of no use, and say that somebody is here."""
        async with self._record.read() as db:
            state, rows = await states.read(db), await states.waiting(db, _AT_ONCE)
        if state is None or not await self._has(state, [seq for seq, _ in rows]):
            await self._begin_anew(state)
            return
        for space in state.old:
            for cypher in wiping(_WIPED_AT_ONCE):
                while (await self.link.write([(cypher, {"space": space})], seconds=TELL_SECONDS))[0]["n"]:
                    pass
        if state.old or anyio.current_time() - self._signed > SIGN_SECONDS:
            self._signed = anyio.current_time()
            async with self._record.write() as db:
                if await states.read(db) == state:
                    await states.keep(db, replace(state, old=[]))

    async def _has(self, state: State, late: list[int]) -> bool:
        """Whether the Neo4j has what it was told; it may have been told what is late without our hearing of it."""
        rows = await self.link.read(_MARK, {"space": state.space})
        if not rows:
            return state.mark == ""
        return rows[0]["mark"] == state.mark or (rows[0]["before"] == state.mark and rows[0]["upto"] in late)

    async def _begin_anew(self, state: State | None) -> bool:
        log.warning("%s has not what it was told: it is told everything anew", self.link.shown)
        await states.begin(self._record, before=state)
        return True


async def _facts_of(db: AsyncConnection, items: list[str]) -> list[str]:
    """The facts that are named, and those about things that are named, or about what was merged into these."""
    things, step = list[str](), [item for item in items if item.startswith("entity-")]
    while step:
        things += step
        rows = await db.execute(select(entity.c.id).where(entity.c.merged_into.in_(step)))
        step = [one for one in rows.scalars() if one not in things]
    named = [item for item in items if not item.startswith("entity-")]
    if things:
        about = or_(fact.c.subject.in_(things), fact.c.object.in_(things))
        named += (await db.execute(select(fact.c.id).where(about).distinct())).scalars()
    return list(dict.fromkeys(named))
