"""Whose vectors the record has: a row of `derived` for each embedder, by its fingerprint.

Promise: vectors are kept for KEPT_DAYS after their embedder was last in use, so that going back to it costs little.
Then the embedder that took its place deletes them, and the stores that are fed from the record follow.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from atlas_mcp.model._base import Tolerant
from atlas_mcp.store.memory_tables import derived, vector

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

KEPT_DAYS = 30
_PREFIX = "embedder:"
_AT_ONCE = 1_000


class Kept(Tolerant):
    """An embedder that has vectors in the record. `complete`: each passage had one when it was last in use.

    `embedder`, `model` and `server` are what opens it again: the setting, and of a remote one what it was asked for;
    `server` is a hash of the address.
    """

    fingerprint: str
    dimension: int
    ranks: bool
    embedder: str
    model: str = ""
    server: str = ""
    complete: bool = False


async def kept(db: AsyncConnection) -> list[Kept]:
    """Every embedder that has vectors, the one that was in use last first."""
    rows = await db.execute(
        select(derived.c.state).where(derived.c.name.startswith(_PREFIX)).order_by(derived.c.at.desc())
    )
    return [Kept.model_validate(state) for state in rows.scalars()]


async def look_up(db: AsyncConnection, fingerprint: str) -> Kept | None:
    """That embedder, if it has vectors."""
    row = (await db.execute(select(derived.c.state).where(derived.c.name == _PREFIX + fingerprint))).one_or_none()
    return None if row is None else Kept.model_validate(row.state)


async def keep(record: Record, what: Kept) -> None:
    """Write that it is in use, and how it stands."""
    name = _PREFIX + what.fingerprint
    values: dict[str, Any] = {"state": what.model_dump(), "at": datetime.now(UTC)}
    async with record.write(of=name) as db:
        changed = await db.execute(update(derived).where(derived.c.name == name).values(values))
        if not changed.rowcount:
            await db.execute(insert(derived).values(name=name, **values))


async def delete_unused(record: Record) -> None:
    """Delete the vectors of embedders that nobody used for KEPT_DAYS, some at a time.

    For an embedder to call that has taken their place.
    """
    long_ago = datetime.now(UTC) - timedelta(days=KEPT_DAYS)
    async with record.read() as db:
        old = (derived.c.name.startswith(_PREFIX), derived.c.at < long_ago)
        names = list((await db.execute(select(derived.c.name).where(*old))).scalars())
    for name in names:
        while await _delete_some(record, name, long_ago):
            pass


async def _delete_some(record: Record, name: str, long_ago: datetime) -> bool:
    """Whether there may be more: it ends with the embedder's own row, or when the embedder is in use again."""
    fingerprint, unused = name.removeprefix(_PREFIX), (derived.c.name == name, derived.c.at < long_ago)
    some = select(vector.c.passage).where(vector.c.fingerprint == fingerprint).limit(_AT_ONCE)
    these = (vector.c.fingerprint == fingerprint, vector.c.passage.in_(some.scalar_subquery()))
    async with record.write() as db:
        if (await db.execute(select(derived.c.name).where(*unused))).one_or_none() is None:
            return False
        if (await db.execute(delete(vector).where(*these))).rowcount:
            return True
        await db.execute(delete(derived).where(*unused))
        return False
