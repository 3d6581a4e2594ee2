"""The record itself: a memory has its passages, a passage its memory and caller, and nothing forgotten is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, func, or_, select

from atlas_mcp.memory import memory_rows as rows
from atlas_mcp.memory.checks.found import MOST, problem, told
from atlas_mcp.memory.documents import KNOWLEDGE
from atlas_mcp.memory.working import ID as WORKING_ID
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.memory_tables import forgotten, memory
from atlas_mcp.store.tables import document, passage

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.model.checked import StoreCheck

_OF_MEMORIES = ("working", "short_term", "long_term", "procedural")

_UNSEARCHED = and_(
    memory.c.reason == "",
    memory.c.id.not_like(f"{WORKING_ID}%"),
    ~exists().where(passage.c.source == memory.c.id),
)
_HOMELESS = or_(
    and_(passage.c.kind.in_(_OF_MEMORIES), ~exists().where(memory.c.id == passage.c.source)),
    and_(passage.c.kind == KNOWLEDGE, ~exists().where(document.c.id == passage.c.source)),
)
_CROSSED = exists().where(memory.c.id == passage.c.source, memory.c.caller != passage.c.caller)
_FORGOTTEN_PASSAGE = exists().where(forgotten.c.item == passage.c.source, forgotten.c.caller == passage.c.caller)
_FORGOTTEN = exists().where(forgotten.c.item == memory.c.id, forgotten.c.caller == memory.c.caller)


async def look(memory_of: HybridMemory, _sample: int, *, repair: bool) -> StoreCheck:
    """All of it, by what belongs together."""
    async with memory_of.record.read() as db:
        looked_at = (await db.execute(select(func.count()).select_from(memory))).scalar_one()
        unsearched = await _ids(db, memory.c.id, and_(_UNSEARCHED, rows.living()))
        homeless = await _ids(db, passage.c.id, _HOMELESS)
        crossed = await _ids(db, passage.c.id, _CROSSED)
        back = [await _ids(db, passage.c.id, _FORGOTTEN_PASSAGE), await _ids(db, memory.c.id, _FORGOTTEN)]
    if repair and (unsearched or homeless or crossed or any(back)):
        await _mend(memory_of)
    grave = bool(crossed or any(back))
    return told(
        "record",
        looked_at,
        [
            *problem("memories have no passage to be found by", len(unsearched), mended=repair),
            *problem("passages belong to nothing", len(homeless), mended=repair),
            *problem("passages are another caller's than their memory", len(crossed), mended=repair),
            *problem("forgotten things are there again", sum(map(len, back)), mended=repair),
        ],
        grave=grave,
    )


async def _ids(db: AsyncConnection, column: Any, condition: Any) -> list[Any]:
    return list((await db.execute(select(column).where(condition).limit(MOST))).scalars())


async def _mend(memory_of: HybridMemory) -> None:
    """What is wrong now, which may be less than was seen."""
    async with memory_of.record.write() as db:
        await db.execute(delete(passage).where(or_(_HOMELESS, _CROSSED, _FORGOTTEN_PASSAGE)))
        gone = await db.execute(select(memory.c.id, memory.c.caller).where(_FORGOTTEN))
        for row in gone.all():
            await rows.remove(db, Caller(id=row.caller), row.id)
        lost = await db.execute(select(memory).where(_UNSEARCHED, rows.living()).limit(MOST))
        for row in lost.all():
            await rows.index(db, Caller(id=row.caller), row)
