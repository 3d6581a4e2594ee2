"""Agents that exist for one run only: how they are found and deleted when it has ended.

Promise: they are found by the run's tag in Letta and by their names in the record, so also when the process that made
them died in between; those of a run that has not ended are left alone. What they said stays in the run's own turns.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from atlas_mcp.constellation.names import guest_name, guest_tags, tags
from atlas_mcp.model.run import ENDED
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.removal import Removal
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

GUESTS = "guests"
"""The text of a run that names its guests, from before they are made until they are gone."""


async def left_behind(record: Record) -> list[tuple[str, str]]:
    """Runs that have ended and may have guests still, each with the id of its caller."""
    run, kept = tables.run, tables.artifact
    query = select(run.c.id, run.c.caller).join(kept, (kept.c.run_id == run.c.id) & (kept.c.name == GUESTS))
    async with record.read() as db:
        return [(row.id, row.caller) for row in await db.execute(query.where(run.c.status.in_(ENDED)))]


async def dismiss(caller: Caller, letta: Letta, record: Record, removal: Removal, run_id: str, *, ended: bool) -> bool:
    """Delete the run's guests, and what Letta and the record have of them; whether that was to be done.

    Unless `ended` says so, it is looked up whether the run has ended. Raises what Letta raises: then it can be tried
    again.
    """
    async with record.read() as db:
        named = await _named(db, caller, run_id, ended=ended)
    if named is None:
        return False
    for name in named:
        await removal.agent(name)
    for left in await letta.find_agents([*tags(caller), *guest_tags(run_id)]):  # made, and never recorded
        await letta.delete_agent(left.id)
        for block in left.blocks:
            await letta.moves.delete_block(block.id)
    async with record.write() as db:
        mine = (tables.artifact.c.run_id == run_id, tables.artifact.c.name == GUESTS)
        await db.execute(delete(tables.artifact).where(*mine))
    return True


async def _named(db: AsyncConnection, caller: Caller, run_id: str, *, ended: bool) -> list[str] | None:
    """The names of the guests; None if there are none, or the run goes on."""
    run, kept = tables.run, tables.artifact
    query = (
        select(run.c.status, kept.c.text)
        .join(kept, (kept.c.run_id == run.c.id) & (kept.c.name == GUESTS))
        .where(run.c.id == run_id, run.c.caller == caller.id)
    )
    row = (await db.execute(query)).one_or_none()
    if row is None or not (ended or row.status in ENDED):
        return None
    return [guest_name(run_id, str(name)) for name in json.loads(row.text)]
