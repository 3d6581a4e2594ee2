"""How turns went lately, of all callers: how many ended and failed, and how long they took."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from atlas_mcp.store.tables import turn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

HOUR = timedelta(hours=1)
_MOST = 2_000
_AHEAD = timedelta(minutes=5)
"""What began further in the future was written before the clock was set back, and is not of the last hour."""


@dataclass(frozen=True, slots=True)
class TurnFigures:
    """Of the turns begun within the last hour, the newest 2,000 at most: how many ended, how many of them failed, and
    the seconds that those took which were done; None where there was none. `last_failed` is the run of the newest.
    """

    ended: int = 0
    failed: int = 0
    median: float | None = None
    p95: float | None = None
    last_failed: str | None = None

    @property
    def error_rate(self) -> float | None:
        """The share that failed; None where nothing ended."""
        return self.failed / self.ended if self.ended else None


async def turn_figures(db: AsyncConnection, now: datetime) -> TurnFigures:
    """The figures of the hour before `now`."""
    lately = turn.c.started_at.between(now - HOUR, now + _AHEAD)
    columns = (turn.c.status, turn.c.started_at, turn.c.finished_at, turn.c.run_id)
    query = select(*columns).where(lately).order_by(turn.c.started_at.desc()).limit(_MOST)
    rows: list[Any] = list(await db.execute(query))
    failed = [row for row in rows if row.status == "failed"]
    took = sorted(
        max(0.0, (row.finished_at - row.started_at).total_seconds())
        for row in rows
        if row.status == "done" and row.finished_at is not None
    )
    return TurnFigures(
        ended=sum(row.status in ("done", "failed") for row in rows),
        failed=len(failed),
        median=quantile(took, 0.5),
        p95=quantile(took, 0.95),
        last_failed=next((row.run_id for row in failed if row.run_id), None),
    )


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that at least this share of the values do not exceed; None of nothing."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None
