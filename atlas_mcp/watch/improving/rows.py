"""Proposals in the record: each once, with what became of it.

A look refreshes what is proposed, makes outdated what the record gives no rise to any more, and proposes again what was
outdated. What somebody dismissed, or what was taken back, is not proposed again by a look; what is in force stays as it
was decided.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from atlas_mcp.model.proposal import IN_FORCE, Change, Proposal
from atlas_mcp.store.quality_tables import proposal as table

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.proposal import Draft, Status

_OPEN: tuple[Status, ...] = ("proposed", "outdated")
_IN_FORCE = (
    select(table.c.change).where(table.c.status.in_(IN_FORCE)).order_by(table.c.decided_at, table.c.id)
)  # built once: every process of a home looks every few seconds
_COLUMNS = frozenset(column.name for column in table.c)


async def keep(db: AsyncConnection, drafts: Iterable[Draft], now: datetime) -> None:
    """Take in what a look has found, all of it."""
    known = {one.id: one for one in await every(db)}
    found = {one.id: one for one in drafts}
    for draft in found.values():
        told = draft.model_dump(mode="json")
        if draft.id not in known:
            await db.execute(insert(table).values(**told, status="proposed", made_at=now))
        elif known[draft.id].status in _OPEN:
            await db.execute(update(table).where(table.c.id == draft.id).values(**told, status="proposed"))
    gone = [one.id for one in known.values() if one.status == "proposed" and one.id not in found]
    if gone:
        await db.execute(update(table).where(table.c.id.in_(gone)).values(status="outdated"))


async def every(db: AsyncConnection) -> list[Proposal]:
    """All there are, the surest first."""
    found = await db.execute(select(table).order_by(table.c.confidence.desc(), table.c.id))
    return [_proposal(row) for row in found]


async def one(db: AsyncConnection, proposal_id: str) -> Proposal | None:
    """The proposal of that id."""
    row = (await db.execute(select(table).where(table.c.id == proposal_id))).one_or_none()
    return _proposal(row) if row else None


async def in_force(db: AsyncConnection) -> list[Change]:
    """The changes that count now, in the order they were decided."""
    return [Change.model_validate(change) for change in (await db.execute(_IN_FORCE)).scalars()]


async def decide(
    db: AsyncConnection, proposal_id: str, status: Status, at: datetime, measured: dict[str, Any] | None = None
) -> None:
    """Set what became of it."""
    values: dict[str, Any] = {"status": status, "decided_at": at}
    if measured is not None:
        values["measured"] = measured
    await db.execute(update(table).where(table.c.id == proposal_id).values(**values))


async def note(db: AsyncConnection, proposal_id: str, measured: dict[str, Any]) -> None:
    """Keep how it does."""
    await db.execute(update(table).where(table.c.id == proposal_id).values(measured=measured))


def _proposal(row: Any) -> Proposal:
    return Proposal.model_validate({name: getattr(row, name) for name in _COLUMNS})
