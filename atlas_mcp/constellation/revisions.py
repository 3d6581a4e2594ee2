"""The history of blocks: every value a block had, who gave it, and when.

Rows are only added; all that is ever filled in later is an author who was not known when a value was found. A block
that takes the place of a lost one takes its history over.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, select, update

from atlas_mcp.constellation.agent_rows import SHARED
from atlas_mcp.store.tables import block, revision, turn

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory import Operation
    from atlas_mcp.store.record import Record

_NEVER = datetime.min.replace(tzinfo=UTC)
ELSEWHERE = "elsewhere"
"""The author of values that nobody here wrote."""


@dataclass(frozen=True, slots=True)
class Revision:
    """One value of a block. `number` 0 is one that is not in the record yet; each replaces the one before it.

    `author` is caller, agent:NAME, atlas, roster or elsewhere; `tool` the memory tool by which an agent made it;
    `restores` the revision that an undo brought back.
    """

    block_id: str
    value: str
    operation: Operation
    author: str
    tool: str | None = None
    turn_id: str | None = None
    restores: int | None = None
    number: int = 0
    at: datetime = _NEVER


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


async def history(db: AsyncConnection, caller: Caller, block_id: str, *, most: int) -> list[Revision]:
    """The block's revisions, newest first, at most so many."""
    mine = (revision.c.caller == caller.id, revision.c.block_id == block_id)
    rows = await db.execute(select(revision).where(*mine).order_by(revision.c.number.desc()).limit(most))
    return [_revision(row) for row in rows]


async def numbered(db: AsyncConnection, caller: Caller, block_id: str, number: int) -> Revision | None:
    """The block's revision of that number."""
    mine = (revision.c.caller == caller.id, revision.c.block_id == block_id, revision.c.number == number)
    row = (await db.execute(select(revision).where(*mine))).one_or_none()
    return _revision(row) if row else None


async def of_turn(db: AsyncConnection, caller: Caller, turn_id: str) -> list[tuple[Revision, str]]:
    """The revisions that the turn made, oldest first, each with the value that it replaced."""
    before = revision.alias()
    same = and_(before.c.block_id == revision.c.block_id, before.c.number == revision.c.number - 1)
    made = select(revision, before.c.value.label("replaced")).outerjoin(before, same)
    mine = (revision.c.caller == caller.id, revision.c.turn_id == turn_id)
    rows = await db.execute(made.where(*mine).order_by(revision.c.at, revision.c.number))
    return [(_revision(row), row.replaced or "") for row in rows]


async def before_run(db: AsyncConnection, caller: Caller, run_id: str) -> list[tuple[str, str, int]]:
    """Agent, label and number of what each block was before the run changed it, if nobody changed it since."""
    turns = select(turn.c.id).where(turn.c.caller == caller.id, turn.c.run_id == run_id)
    mine = (revision.c.caller == caller.id, revision.c.turn_id.in_(turns))
    ids = set((await db.execute(turns)).scalars())
    changed = list((await db.execute(select(revision.c.block_id).distinct().where(*mine))).scalars())
    found: list[tuple[str, str, int]] = []
    for kept in await db.execute(select(block).where(block.c.caller == caller.id, block.c.letta_id.in_(changed))):
        theirs = (revision.c.caller == caller.id, revision.c.block_id == kept.letta_id)
        past = list(await db.execute(select(revision).where(*theirs).order_by(revision.c.number.desc())))
        earlier = next((one for one in past if one.turn_id not in ids), None)
        if earlier is not None and past[0].turn_id in ids:
            writer = str(past[0].author).removeprefix("agent:")
            found.append((writer if kept.owner == SHARED else kept.owner, kept.label, earlier.number))
    return sorted(found)


async def last_value_by(db: AsyncConnection, caller: Caller, block_id: str, author: str) -> str | None:
    """The last value that this author gave the block; None if there is none."""
    mine = (revision.c.caller == caller.id, revision.c.block_id == block_id, revision.c.author == author)
    rows = await db.execute(select(revision.c.value).where(*mine).order_by(revision.c.number.desc()).limit(1))
    return rows.scalar_one_or_none()


async def add(db: AsyncConnection, caller: Caller, new: Revision) -> Revision:
    """Add it as the block's next revision. In a write transaction."""
    known = await db.execute(select(func.max(revision.c.number)).where(revision.c.block_id == new.block_id))
    made = replace(new, number=int(known.scalar_one_or_none() or 0) + 1, at=datetime.now(UTC))
    row = {name: getattr(made, name) for name in Revision.__slots__} | {"caller": caller.id}
    await db.execute(insert(revision).values(row))
    return made


async def claim(db: AsyncConnection, caller: Caller, found: Revision, by: Revision) -> None:
    """Say who made a revision that was found before its author was known."""
    here = (revision.c.caller == caller.id, revision.c.block_id == found.block_id, revision.c.number == found.number)
    known = {"author": by.author, "operation": by.operation, "tool": by.tool, "turn_id": by.turn_id}
    await db.execute(update(revision).where(*here).values(known))


async def move(db: AsyncConnection, caller: Caller, lost: str, instead: str) -> bool:
    """Give the lost block's history to the one that took its place; whether there was any."""
    mine = (revision.c.caller == caller.id, revision.c.block_id == lost)
    return (await db.execute(update(revision).where(*mine).values(block_id=instead))).rowcount > 0


async def noted(record: Record, caller: Caller, block_id: str, value: str) -> Revision:
    """The block's newest revision, which has this value: recorded now, as made elsewhere, if it had not.

    Under the block's lock, and with the value that Letta gave under it.
    """
    async with record.read() as db:
        last = (await latest(db, caller, [block_id])).get(block_id)
    if last is not None and last.value == value:
        return last
    async with record.write(caller.id) as db:
        return await add(db, caller, Revision(block_id, value, "elsewhere" if last else "created", ELSEWHERE))


def _revision(row: Any) -> Revision:
    return Revision(**{name: getattr(row, name) for name in Revision.__slots__})
