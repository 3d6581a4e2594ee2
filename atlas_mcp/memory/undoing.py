"""Taking facts back: what a run told, or one fact. What they had taken the place of is held again.

Promise: what somebody else told too stays, without the word of the run. What is undone stays as history, is found by no
search, and is brought back by no other undoing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, cast, or_, select, update

from atlas_mcp.memory.entities import Aliases
from atlas_mcp.memory.versions import (
    Ground,
    add_versions,
    end,
    held_on,
    held_versions,
    period_of,
    say_superseded,
    set_sources,
    sources_of,
    unfind,
)
from atlas_mcp.store.memory_tables import fact

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller


async def told_by_run(db: AsyncConnection, caller: Caller, run_id: str) -> list[Row[Any]]:
    """Every version that the run told, alone or with others."""
    named = cast(fact.c.sources, Text).contains(f'"{run_id}"', autoescape=True)
    rows = await db.execute(select(fact).where(fact.c.caller == caller.id, or_(fact.c.run_id == run_id, named)))
    return [row for row in rows if any(one.run_id == run_id for one in sources_of(row))]


async def versions_of(db: AsyncConnection, caller: Caller, fact_id: str) -> list[Row[Any]]:
    """Every version of one fact."""
    rows = await db.execute(select(fact).where(fact.c.caller == caller.id, fact.c.id == fact_id))
    return list(rows)


class Undoing:
    """One undoing; its moment is `at`."""

    def __init__(self, db: AsyncConnection, caller: Caller, at: datetime) -> None:
        self._db = db
        self._caller = caller
        self._at = at
        self._made_room: set[tuple[str, datetime]] = set()
        self._undone: set[str] = set()

    async def run(self, run_id: str) -> list[str]:
        """Take back what the run told; the ids of the facts that are held no longer for it."""
        for row in await told_by_run(self._db, self._caller, run_id):
            its = [one for one in sources_of(row) if one.run_id == run_id]
            rest = [one for one in sources_of(row) if one.run_id != run_id]
            first = min(one.at for one in its)
            if row.run_id == run_id and not any(one.at > first for one in rest):
                await self._withdraw(row, {one.at for one in its})
            elif rest:
                await set_sources(self._db, row, rest)
        return await self._restored()

    async def fact(self, fact_id: str) -> list[str]:
        """Take back one fact, whoever told it."""
        for row in await versions_of(self._db, self._caller, fact_id):
            await self._withdraw(row, {one.at for one in sources_of(row)})
        return await self._restored()

    async def _withdraw(self, row: Row[Any], moments: set[datetime]) -> None:
        if row.superseded_at is not None and row.superseded_by is None:
            return  # it was undone before
        self._made_room |= {(row.id, at) for at in moments}
        self._undone.add(row.id)
        await end(self._db, row, self._at, None)

    async def _restored(self) -> list[str]:
        """Hold again what had made room; the ids of what was undone and is held no more."""
        aliases = await Aliases.read(self._db, self._caller)
        for by, at in sorted(self._made_room):
            made_room = (fact.c.caller == self._caller.id, fact.c.superseded_by == by, fact.c.superseded_at == at)
            for row in list(await self._db.execute(select(fact).where(*made_room))):
                await self._restore(row, aliases)
        gone = [one for one in sorted(self._undone) if not await held_versions(self._db, self._caller, one)]
        if gone:
            await unfind(self._db, gone)
        return gone

    async def _restore(self, row: Row[Any], aliases: Aliases) -> None:
        """Hold it again for when it was true, but for what something else is known of by now."""
        subjects = tuple(aliases.members([aliases.root(row.subject)]))
        held = await held_on(self._db, self._caller, Ground(subjects, row.relation, row.scope, row.project))
        others = [one for one in held if (one.object, one.value) != (row.object, row.value)]
        left = period_of(row).minus(period_of(one) for one in others if one.functional or row.functional)
        mine = [one for one in held if one.id == row.id and period_of(one).within(period_of(row))]
        if {(p.since, p.until) for p in left} != {(one.true_from, one.true_until) for one in mine}:
            for one in mine:
                await end(self._db, one, self._at, one.id)
            await add_versions(self._db, row, left, self._at)
        await self._db.execute(
            update(fact)
            .where(fact.c.id == row.id, fact.c.version == row.version)
            .values(superseded_by=row.id)  # it was brought back: nothing else brings it back again
        )
        await say_superseded(self._db, row.id, None)
