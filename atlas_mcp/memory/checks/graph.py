"""Neo4j: it has every version of every fact, of the same caller and in the same words, and none else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
from sqlalchemy import select

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.memory.checks.found import problem, told
from atlas_mcp.memory.neo4j import state as states
from atlas_mcp.memory.neo4j.edges import microseconds
from atlas_mcp.model.checked import StoreCheck
from atlas_mcp.store.memory_tables import fact

if TYPE_CHECKING:
    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.memory.neo4j.mirror import Mirror

_PAGE = 2_000
_AGAIN_SECONDS = 2.0
_THERE = (
    "MATCH ()-[f:FACT]->() WHERE f.space = $space RETURN f.fact AS fact, f.version AS version, f.caller AS caller,"
    " f.text AS text, f.superseded_at AS superseded ORDER BY f.fact, f.version SKIP $skip LIMIT $limit"
)


async def look(memory_of: HybridMemory, _sample: int, *, repair: bool) -> StoreCheck | None:
    """All facts; None where there is no Neo4j."""
    mirror = memory_of.graph
    if mirror is None:
        return None
    try:
        if not mirror.link.answers:
            return StoreCheck(store="graph", health="warning", text="Neo4j does not answer. The record does.")
        if late := await mirror.late():
            text = f"Neo4j is just being told {late:,} changes; the record answers meanwhile."
            return StoreCheck(store="graph", health="idle", text=text)
        looked_at, wrong = await _differing(memory_of, mirror)
        if wrong:  # what changes just now differs for a moment
            await anyio.sleep(_AGAIN_SECONDS)
            wrong &= (await _differing(memory_of, mirror))[1]
    except StoreUnavailable as failure:
        return StoreCheck(store="graph", health="warning", text=f"Neo4j could not be asked: {failure}")
    if repair and wrong:
        async with memory_of.record.read() as db:
            state = await states.read(db)
        await states.begin(memory_of.record, before=state)
    return told("graph", looked_at, problem("facts are not the record's", len(wrong), mended=repair), grave=True)


async def _differing(memory_of: HybridMemory, mirror: Mirror) -> tuple[int, set[tuple[str, int]]]:
    async with memory_of.record.read() as db:
        state = await states.read(db)
    there = await _there(mirror, state.space) if state is not None else {}
    async with memory_of.record.read() as db:
        wanted = select(fact.c.id, fact.c.version, fact.c.caller, fact.c.text, fact.c.superseded_at)
        rows = (await db.execute(wanted)).all()
    here = {(row.id, row.version): (row.caller, row.text, microseconds(row.superseded_at)) for row in rows}
    return len(here), {one for one in here.keys() | there.keys() if here.get(one) != there.get(one)}


async def _there(mirror: Mirror, space: str) -> dict[tuple[str, int], tuple[Any, ...]]:
    found: dict[tuple[str, int], tuple[Any, ...]] = {}
    while True:
        page = await mirror.link.read(_THERE, {"space": space, "skip": len(found), "limit": _PAGE})
        found |= {(row["fact"], row["version"]): (row["caller"], row["text"], row["superseded"]) for row in page}
        if len(page) < _PAGE:
            return found
