"""How long a run was at work, read from its journal: the time it waited for a slot or an answer is none of it.

Of an attempt whose process died, what came after its last event is not known and not counted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from atlas_mcp.store import tables

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

_BEGINS = frozenset({"run_started", "run_resumed"})
_ENDS = "run_waiting"
_EVENT = tables.event
_MOMENTS = select(_EVENT.c.type, _EVENT.c.at).where(_EVENT.c.run_id == bindparam("run")).order_by(_EVENT.c.seq)


async def seconds_worked(db: AsyncConnection, run_id: str) -> float:
    """The seconds from each beginning of an attempt to its last event."""
    total = 0.0
    begun: datetime | None = None
    last: datetime | None = None
    for kind, at in await db.execute(_MOMENTS, {"run": run_id}):
        if kind in _BEGINS:
            total += _between(begun, last)
            begun = last = at
        elif begun is not None:
            last = at
        if kind == _ENDS:
            total += _between(begun, last)
            begun = last = None
    return total + _between(begun, last)


def _between(begun: datetime | None, last: datetime | None) -> float:
    return (last - begun).total_seconds() if begun and last else 0.0
