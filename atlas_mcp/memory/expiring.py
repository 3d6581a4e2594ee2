"""Expiry: what has run out is deleted, by itself, in the background; until then no reader is given it.

Promise: what is episodic stays as long as its run, or its project, goes on, and a month after. Everything else is
deleted at its time, with its revisions and passages. Several processes may do this at once.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
from sqlalchemy import delete, func, or_, select, update

from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.results import project_of
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.memory_kinds import LIFETIMES
from atlas_mcp.model.run import ENDED
from atlas_mcp.store.memory_tables import memory, memory_revision
from atlas_mcp.store.tables import passage, run

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

log = logging.getLogger(__name__)

EVERY_SECONDS = 60.0
AHEAD = timedelta(days=1)
"""So long before its time what is episodic is looked at, so that it is never missing while its project goes on."""
_MOST = 500
_EPISODIC = "episodic"
_AFTER = LIFETIMES[_EPISODIC] or timedelta()


async def keep_expiring(record: Record) -> None:
    """Delete what has run out, now and then again, until cancelled. What keeps it from that is tried again."""
    while True:
        try:
            await expire(record)
        except AtlasError as error:
            log.warning("what has expired was not deleted: %s", error)
        await anyio.sleep(EVERY_SECONDS)


async def expire(record: Record) -> int:
    """Delete what has run out, of all callers; how many sources: memories, and runs whose results are found no more."""
    gone = 0
    for caller in await _due(record):
        async with record.read() as db:
            plan = await _planned(db, caller)
        while plan.gone or plan.longer:
            async with record.write(caller.id) as db:
                plan = await _planned(db, caller)  # somebody may have written to one of them meanwhile
                await _carry_out(db, caller, plan)
                gone += len(plan.gone)
            plan = plan if len(plan.gone) == _MOST else _Plan()
    return gone


@dataclass
class _Plan:
    """Sources to be deleted, and until when others are to be kept longer."""

    gone: list[str] = field(default_factory=list[str])
    longer: dict[str, datetime] = field(default_factory=dict[str, datetime])


async def _due(record: Record) -> list[Caller]:
    """Callers that have something which has run out, or is episodic and about to."""
    async with record.look() as db:
        found: set[str] = set()
        for table in (memory, passage):
            found |= set((await db.execute(select(table.c.caller).distinct().where(*_ending(table)))).scalars())
    return [Caller(id=one) for one in sorted(found)]


def _ending(table: Table) -> tuple[ColumnElement[bool], ...]:
    now = datetime.now(UTC)
    soon = table.c.expires_at <= now + AHEAD
    return (soon, or_(table.c.expires_at <= now, table.c.kind == _EPISODIC))


async def _planned(db: AsyncConnection, caller: Caller) -> _Plan:
    plan, now = _Plan(), datetime.now(UTC)
    ending: dict[str, Any] = {}
    of_memories, of_results = (memory, memory.c.id, memory.c.run_id), (passage, passage.c.source, passage.c.source)
    for table, source, of_run in (of_memories, of_results):
        columns = (source.label("source"), of_run.label("run_id"), table.c.kind, table.c.project, table.c.expires_at)
        wanted = select(*columns).where(table.c.caller == caller.id, *_ending(table))
        wanted = wanted.order_by(table.c.expires_at).limit(_MOST)
        ending = {row.source: row for row in await db.execute(wanted)} | ending
    for source, row in ending.items():
        until = await _goes_on_until(db, caller, row) if row.kind == _EPISODIC else row.expires_at
        if until > row.expires_at:
            plan.longer[source] = until
        elif row.expires_at <= now and len(plan.gone) < _MOST:
            plan.gone.append(source)
    return plan


async def _goes_on_until(db: AsyncConnection, caller: Caller, row: Any) -> datetime:
    """A month after its run ended, or anything was last written in its project; from now if either still goes on."""
    now, last = datetime.now(UTC), [row.expires_at - _AFTER]
    own = (run.c.caller == caller.id, run.c.id == row.run_id)
    if found := (await db.execute(select(run.c.status, run.c.updated_at).where(*own))).one_or_none():
        last.append(found.updated_at if found.status in ENDED else now)
    if row.project:
        for table, at in ((memory, memory.c.updated_at), (passage, passage.c.at)):
            theirs = (table.c.caller == caller.id, table.c.project == row.project)
            last += [(await db.execute(select(func.max(at)).where(*theirs))).scalar_one() or now - _AFTER]
        under_way = (run.c.caller == caller.id, run.c.status.not_in(ENDED), project_of == row.project)
        last += [now] if (await db.execute(select(run.c.id).where(*under_way).limit(1))).first() else []
    return max(last) + _AFTER


async def _carry_out(db: AsyncConnection, caller: Caller, plan: _Plan) -> None:
    tables = ((passage, "source"), (memory_revision, "memory"), (memory, "id"))
    for table, name in tables if plan.gone else ():
        await db.execute(delete(table).where(table.c.caller == caller.id, table.c[name].in_(plan.gone)))
    for source, until in plan.longer.items():
        for table, name in ((memory, "id"), (passage, "source")):
            mine = (table.c.caller == caller.id, table.c[name] == source)
            await db.execute(update(table).where(*mine).values(expires_at=until))
