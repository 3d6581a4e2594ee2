"""Taking back what was remembered: one change of a memory, or all that a run did to it.

Nothing is lost by it: what is taken back is kept for a while and can be brought back, and what had been superseded by
it is remembered again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from atlas_mcp.errors import InvalidInput, UnknownRevision
from atlas_mcp.memory import memory_rows as rows
from atlas_mcp.model.memory_kinds import LIFETIMES, REFUSED
from atlas_mcp.store.memory_tables import memory, memory_revision

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

TAKEN_BACK = "it was taken back"


async def undo(db: AsyncConnection, caller: Caller, row: Row[Any], number: int | None) -> Row[Any]:
    """Take the memory's last change back, or give it the text of that revision again."""
    past = await rows.revisions(db, caller, row.id)
    if row.reason and past[-1].operation != "undone":
        raise InvalidInput(
            f"it is not remembered ({row.reason}), so there is nothing to take back.",
            argument="id",
            next_step="Correct it to have it remembered.",
        )
    if number is None:
        wanted = past[-2] if len(past) > 1 else None
    elif (wanted := next((one for one in past if one.number == number), None)) is None:
        raise UnknownRevision(row.id, number, row.revision, memory=True)
    if wanted is None or wanted.operation == "undone":
        return await _take_back(db, caller, row)
    return await _give_again(db, caller, row, wanted)


async def undo_run(db: AsyncConnection, caller: Caller, run_id: str) -> list[Row[Any]]:
    """Take back what the run did, where nobody changed it since; the memories that it had changed, as they now stand.

    What somebody corrected afterwards is theirs, and stays.
    """
    touched = select(memory_revision.c.memory).where(
        memory_revision.c.caller == caller.id, memory_revision.c.run_id == run_id
    )
    mine = (memory.c.caller == caller.id, memory.c.id.in_(touched), memory.c.reason == "", rows.living())
    found = list(await db.execute(select(memory).where(*mine).order_by(memory.c.created_at.desc(), memory.c.id)))
    undone: list[Row[Any]] = []
    for one in found:
        row = await rows.find(db, caller, one.id) or one  # taking back another may have changed it
        past = await rows.revisions(db, caller, row.id)
        if past[-1].run_id == run_id:
            before = _before(past, run_id)
            undone.append(await (_give_again(db, caller, row, before) if before else _take_back(db, caller, row)))
    return undone


async def become_current(db: AsyncConnection, caller: Caller, row: Row[Any]) -> None:
    """Make way for a memory that is remembered again: what has its key now is superseded by it."""
    held = await rows.holder(db, caller, row)
    if held is not None and held.id != row.id:
        await rows.supersede(db, caller, held.id, row.id)


def _before(past: Sequence[Row[Any]], run_id: str) -> Row[Any] | None:
    """What the memory was before the run touched it; None if it was not there."""
    for one in reversed(past):
        if one.run_id != run_id:
            return None if one.operation == "undone" else one
    return None


async def _give_again(db: AsyncConnection, caller: Caller, row: Row[Any], past: Row[Any]) -> Row[Any]:
    if row.reason:
        await become_current(db, caller, row)
    values: dict[str, Any] = rows.kept(past) | {
        "reason": "",
        "expires_at": rows.lasting(LIFETIMES[row.kind]),
    }
    return await rows.revise(db, caller, row, "restored", **values)


async def _take_back(db: AsyncConnection, caller: Caller, row: Row[Any]) -> Row[Any]:
    gone: dict[str, Any] = {
        "reason": TAKEN_BACK,
        "expires_at": rows.lasting(REFUSED),
        "superseded_by": None,
    }
    made = await rows.revise(db, caller, row, "undone", **gone)
    await _release(db, caller, row)
    return made


async def _release(db: AsyncConnection, caller: Caller, row: Row[Any]) -> None:
    """What had been superseded by the memory is superseded by what follows it, or remembered again: the newest."""
    mine = (memory.c.caller == caller.id, memory.c.superseded_by == row.id, memory.c.reason == "")
    before = list(await db.execute(select(memory.c.id).where(*mine).order_by(memory.c.created_at.desc(), memory.c.id)))
    heir = row.superseded_by
    for one in before:
        await rows.supersede(db, caller, one.id, heir)
        heir = heir or one.id
    theirs = (memory.c.caller == caller.id, memory.c.superseded_by == row.id)
    await db.execute(update(memory).where(*theirs).values(superseded_by=heir))
