"""What is found of the house as a whole: turns that fail, days that are nearly spent, stores that are not well."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from atlas_mcp.store.tables import ledger, run
from atlas_mcp.watch.alerts.rules import FEWEST_TURNS, Finding
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.limits import money
from atlas_mcp.watch.turn_figures import turn_figures

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.status import Room


async def of_errors(db: AsyncConnection, most: float, now: datetime) -> list[Finding]:
    """Too many of the last hour's turns failed. The trace is that of the newest failed one, where it was in a run."""
    found = await turn_figures(db, now)
    rate = found.error_rate
    if rate is None or rate <= most or found.ended < FEWEST_TURNS:
        return []
    trace = select(run.c.trace_id).where(run.c.id == found.last_failed)
    trace_id = (await db.execute(trace)).scalar_one_or_none() if found.last_failed else None
    text = f"{found.failed} of the last hour's {found.ended} turns failed."
    return [Finding("error_rate", "", text, rate, most, run_id=found.last_failed, trace_id=trace_id)]


async def of_days(db: AsyncConnection, share: float, daily_usd: float | None, now: datetime) -> list[Finding]:
    """Callers who have used that share of what they may spend in a day."""
    if not daily_usd:
        return []
    spent = func.sum(ledger.c.usd)
    query = select(ledger.c.caller, spent).where(ledger.c.day == now.date().isoformat())
    rows: list[Any] = list(await db.execute(query.group_by(ledger.c.caller).having(spent >= share * daily_usd)))
    found: list[Finding] = []
    for caller, usd in rows:
        used = float(usd) / daily_usd
        text = f"{used:.0%} of the day's {money(daily_usd)} are spent or reserved."
        found.append(Finding("budget", hashed_caller(caller), text, used, share, caller))
    return found


def of_stores(rooms: Sequence[Room]) -> list[Finding]:
    """Rooms that are not well, though the house may go on without them."""
    unwell = [room for room in rooms if room.health in ("warning", "failing")]
    return [Finding("store", room.name, f"{room.name} is not well: {room.text}", 1.0, 0.0) for room in unwell]
