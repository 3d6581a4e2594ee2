"""What callers consented to: that a tool may be called without asking again, in one run or for ever.

Promise: a consent covers the tool of that name as long as it does no more than it did when the consent was given. It
holds in every process as soon as it is given, and no more as soon as it is revoked; that of a run goes with its run.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, or_, select

from atlas_mcp.model.permissions import Consent
from atlas_mcp.store.reach_tables import consent

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.permissions import Mark


async def covers(db: AsyncConnection, caller: str, tool: str, marks: Sequence[Mark], run_id: str) -> bool:
    """Whether the caller consented to such calls of the tool, in this run or for ever."""
    here = or_(consent.c.run_id.is_(None), consent.c.run_id == run_id)
    given = await db.execute(select(consent.c.marks).where(consent.c.caller == caller, consent.c.tool == tool, here))
    return any(set(marks) <= set(covered) for covered in given.scalars())


async def give(db: AsyncConnection, caller: str, tool: str, marks: Sequence[Mark], run_id: str | None) -> None:
    """Note the caller's consent, for one run or, without one, for ever."""
    row = {"id": f"c_{uuid.uuid4().hex[:12]}", "caller": caller, "tool": tool, "run_id": run_id, "marks": [*marks]}
    await db.execute(insert(consent), {**row, "at": datetime.now(UTC)})


async def listed(db: AsyncConnection, caller: str | None = None) -> list[Consent]:
    """The consents of the caller, or of all callers, oldest first."""
    query = select(consent).order_by(consent.c.at, consent.c.id)
    rows = await db.execute(query if caller is None else query.where(consent.c.caller == caller))
    return [Consent.model_validate(row, from_attributes=True) for row in rows]


async def revoke(db: AsyncConnection, consents: Sequence[str]) -> None:
    """Take back the consents of these ids."""
    await db.execute(delete(consent).where(consent.c.id.in_(consents)))
