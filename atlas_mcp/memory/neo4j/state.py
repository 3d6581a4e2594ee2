"""What the record knows of the Neo4j that is fed from it: what its copies are called there, and how far it was told.

Promise: while there is such a row, every change of facts and things is in the outbox, in the commit that made it. The
row comes together with all that there is to tell; beginning anew is the same under another name, so that nothing of
before is ever taken for new.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import delete, insert, literal, select, update

from atlas_mcp.store.memory_tables import derived, fact, outbox

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

GRAPH = "graph"
FORSAKEN = timedelta(days=1)


@dataclass(frozen=True)
class State:
    """`space` is what belongs to this record in the Neo4j, `mark` what it was given with what it was told last, `old`
    spaces that are to be deleted there."""

    space: str
    mark: str = ""
    old: list[str] = field(default_factory=list[str])


async def read(db: AsyncConnection) -> State | None:
    """The state; None while no Neo4j is fed."""
    kept = (await db.execute(select(derived.c.state).where(derived.c.name == GRAPH))).scalar_one_or_none()
    return State(**kept) if kept is not None else None


async def begin(record: Record, *, before: State | None = None) -> State:
    """Feed a Neo4j with all there is, from the beginning on; or what another process began since `before`."""
    async with record.write() as db:
        known = await read(db)
        if known is not None and (before is None or known.space != before.space):
            return known
        state = State(uuid4().hex[:12], old=[*known.old, known.space] if known is not None else [])
        await db.execute(delete(derived).where(derived.c.name == GRAPH))
        await db.execute(delete(outbox).where(outbox.c.topic == GRAPH))
        await db.execute(insert(derived).values(name=GRAPH, state=state.__dict__, at=datetime.now(UTC)))
        everything = select(literal(GRAPH), fact.c.id).distinct()
        await db.execute(insert(outbox).from_select(["topic", "item"], everything))
        return state


async def keep(db: AsyncConnection, state: State) -> None:
    """Keep the state, and that there is somebody who feeds."""
    await db.execute(update(derived).where(derived.c.name == GRAPH).values(state=state.__dict__, at=datetime.now(UTC)))


async def waiting(db: AsyncConnection, limit: int) -> Sequence[tuple[int, str]]:
    """The oldest changes that the Neo4j was not told yet."""
    query = select(outbox.c.seq, outbox.c.item).where(outbox.c.topic == GRAPH).order_by(outbox.c.seq).limit(limit)
    return [(row.seq, row.item) for row in await db.execute(query)]


async def forsake(record: Record) -> None:
    """Tell the outbox no more of facts, if nobody has fed a Neo4j for a day."""
    async with record.look() as db:
        at = (await db.execute(select(derived.c.at).where(derived.c.name == GRAPH))).scalar_one_or_none()
    if at is None or datetime.now(UTC) - at < FORSAKEN:
        return
    async with record.write() as db:
        await db.execute(delete(derived).where(derived.c.name == GRAPH))
        await db.execute(delete(outbox).where(outbox.c.topic == GRAPH))
