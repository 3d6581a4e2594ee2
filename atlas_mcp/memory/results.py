"""What runs came to, among the passages that are searched.

Promise: a run that has ended with a text is searchable by its first search at the latest, and one that was deleted is
found no more. It is found for a month, or as long as its project goes on (see `expiring`); the run itself stays. The
passages are a second copy that can be thrown away: those of a month are made from the runs again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import String, cast, exists, or_, select

from atlas_mcp.memory.chunks import passages
from atlas_mcp.memory.documents import Origin, add_passages, remove_passages
from atlas_mcp.model.knowledge import AGENT_TRUST
from atlas_mcp.model.memory_kinds import LIFETIMES
from atlas_mcp.model.run import ENDED
from atlas_mcp.store.memory_tables import memory
from atlas_mcp.store.tables import passage, run

if TYPE_CHECKING:
    from sqlalchemy import Select
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

EPISODIC: Literal["episodic"] = "episodic"
_TITLE = 200
_AFTER = LIFETIMES[EPISODIC] or timedelta()

project_of = run.c.input["input", "project"].as_string()
"""The project of a run, from the order that it carries out; none where it has none."""


async def bring_up_to_date(caller: Caller, record: Record) -> None:
    """Add the passages of runs that ended since, and drop those of runs that are gone. Costs two reads if none did."""
    async with record.read() as db:
        new, gone = list(await db.execute(_new(caller))), list((await db.execute(_gone(caller))).scalars())
    if not new and not gone:
        return
    async with record.write() as db:
        for source in gone:
            await remove_passages(db, caller, source)
        for row in list(await db.execute(_new(caller))):  # another process may have added some meanwhile
            await _add(db, caller, row)


async def _add(db: AsyncConnection, caller: Caller, row: Any) -> None:
    result = dict[str, Any](row.result or {})
    content = str(result.get("output") or row.reply or "")
    origin = Origin(
        EPISODIC, row.id, row.goal[:_TITLE], row.project or "", "atlas", AGENT_TRUST, row.updated_at,
        expires_at=row.updated_at + _AFTER,
    )  # fmt: skip
    await add_passages(db, caller, origin, passages(content) or [row.goal])


def _new(caller: Caller) -> Select[Any, Any, Any, Any, Any, Any]:
    known = exists().where(passage.c.source == run.c.id, passage.c.caller == caller.id)
    has_text = or_(run.c.reply.is_not(None), cast(run.c.result, String) != "null")
    lately = run.c.updated_at > datetime.now(UTC) - _AFTER
    ended = (run.c.caller == caller.id, run.c.status.in_(ENDED), has_text, lately)
    return select(run.c.id, run.c.goal, project_of.label("project"), run.c.result, run.c.reply, run.c.updated_at).where(
        *ended, ~known
    )


def _gone(caller: Caller) -> Select[Any]:
    left = exists().where(run.c.id == passage.c.source, run.c.caller == caller.id)
    told = exists().where(memory.c.id == passage.c.source, memory.c.caller == caller.id)
    mine = (passage.c.caller == caller.id, passage.c.kind == EPISODIC)
    return select(passage.c.source).distinct().where(*mine, ~left, ~told)
