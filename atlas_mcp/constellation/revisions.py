"""The history of blocks: every value a block had, who gave it, and when. Rows are only ever added."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, select

from atlas_mcp.store.tables import revision

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Operation


@dataclass(frozen=True, slots=True)
class Revision:
    """One value of a block."""

    block_id: str
    number: int
    value: str
    operation: str
    author: str
    at: datetime


async def latest(db: AsyncConnection, caller: Caller, blocks: Iterable[str]) -> dict[str, Revision]:
    """The newest revision of each of these blocks, by the block's id; blocks without one are left out."""
    newest = (
        select(revision.c.block_id, func.max(revision.c.number).label("number"))
        .where(revision.c.caller == caller.id, revision.c.block_id.in_(list(blocks)))
        .group_by(revision.c.block_id)
        .subquery()
    )
    here = and_(revision.c.block_id == newest.c.block_id, revision.c.number == newest.c.number)
    rows = await db.execute(select(revision).join(newest, here))
    return {row.block_id: _revision(row) for row in rows}


async def last_value_by(db: AsyncConnection, caller: Caller, block_id: str, author: str) -> str | None:
    """The last value that this author gave the block; None if there is none."""
    mine = (revision.c.caller == caller.id, revision.c.block_id == block_id, revision.c.author == author)
    rows = await db.execute(select(revision.c.value).where(*mine).order_by(revision.c.number.desc()).limit(1))
    return rows.scalar_one_or_none()


async def add(
    db: AsyncConnection,
    caller: Caller,
    block_id: str,
    value: str,
    operation: Operation,
    author: str,
    *,
    turn_id: str | None = None,
    after: int | None = None,
) -> Revision:
    """Add the block's next revision. `after` numbers the first one of a block that takes another's place."""
    if after is None:
        known = await db.execute(select(func.max(revision.c.number)).where(revision.c.block_id == block_id))
        after = int(known.scalar_one_or_none() or 0)
    made = Revision(block_id, after + 1, value, operation, author, datetime.now(UTC))
    row = {
        "block_id": block_id,
        "number": made.number,
        "caller": caller.id,
        "value": value,
        "operation": operation,
        "author": author,
        "turn_id": turn_id,
        "at": made.at,
    }
    await db.execute(insert(revision).values(row))
    return made


def _revision(row: Any) -> Revision:
    return Revision(row.block_id, row.number, row.value, row.operation, row.author, row.at)
