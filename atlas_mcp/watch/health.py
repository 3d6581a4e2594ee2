"""How the house is in numbers, once a minute, by every process that has opened its rooms.

A sample is a row for each figure, kept for 30 days, and goes to MLflow with what else is told there. Figures that say
nothing at a time, such as the response time of an hour without turns, are absent; none is ever made up. A sample reads
the record once and writes it once; nothing that a caller does waits for it.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, literal_column, select

from atlas_mcp.store.quality_tables import alert, sample
from atlas_mcp.store.tables import run
from atlas_mcp.watch.notes import MetricsNote, tell
from atlas_mcp.watch.turn_figures import turn_figures

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.record import Record

EVERY_SECONDS = 60.0
KEPT = timedelta(days=30)
ALERTS_KEPT = timedelta(days=365)
"""How long alerts are kept that are over."""
SERIES = "health"
_PRUNE_SECONDS = 3600.0
_JUMP_SECONDS = 60.0

MEANING: Mapping[str, str] = {
    "active_agents": "turns under way in the process",
    "runs_waiting": "runs that wait to begin, of all processes",
    "runs_at_work": "runs that a process has in its hands",
    "error_rate": "share of the last hour's turns that failed",
    "turn_seconds_median": "median time of the last hour's turns, in seconds",
    "turn_seconds_p95": "the time that 95 of 100 turns of the last hour do not exceed, in seconds",
    "processor_share": "processor time of the process since its last sample; 1 is one core in full",
    "memory_bytes": "memory that the process occupies",
    "database_connections": "connections of the process to the record",
    "cache_hit_share": "share of what the process's caches were asked since its last sample that they had",
}
"""What the figures mean; those of providers are `provider_NAME_requests_left` and `provider_NAME_tokens_left`."""


class Sampler:
    """Takes the samples of the process called so; `gauges` are the figures that only the process itself knows."""

    def __init__(
        self,
        record: Record,
        process: str,
        gauges: Callable[[], Mapping[str, float]],
        *,
        now: Callable[[], datetime],
        steady: Callable[[], float] = time.monotonic,
    ) -> None:
        self._record = record
        self._process = process
        self._gauges = gauges
        self._now = now
        self._steady = steady
        self._last = (steady(), time.process_time(), now())
        self._pruned_at = -float("inf")
        self._jumped = False

    async def sample(self) -> dict[str, float]:
        """Take a sample, keep it and tell it; the figures by name. Raises what the record raises."""
        at = self._now()
        figures = {"processor_share": self._processor(at), **self._gauges()}
        async with self._record.read() as db:
            figures |= await _of_house(db, at)
        rows = [{"at": at, "process": self._process, "name": name, "value": v} for name, v in figures.items()]
        async with self._record.write(f"sample {self._process}") as db:
            await db.execute(insert(sample), rows)
        stamp = int(at.timestamp() * 1000)
        tell(MetricsNote(key=f"{SERIES}:{self._process}:{stamp}", series=SERIES, values=figures, at_ms=stamp))
        await self._prune(at)
        return figures

    def _processor(self, at: datetime) -> float:
        then, used_then, at_then = self._last
        self._last = now, used, _ = (self._steady(), time.process_time(), at)
        passed = now - then
        self._jumped |= abs((at - at_then).total_seconds() - passed) > _JUMP_SECONDS
        return round((used - used_then) / passed, 4) if passed > 0 else 0.0

    async def _prune(self, at: datetime) -> None:
        """Delete what is too old, now and then; not by a clock that has jumped, which may not know what is old."""
        if self._jumped or self._steady() < self._pruned_at + _PRUNE_SECONDS:
            return
        self._pruned_at = self._steady()
        async with self._record.write() as db:
            await db.execute(delete(sample).where(sample.c.at < at - KEPT))
            await db.execute(delete(alert).where(alert.c.cleared_at < at - ALERTS_KEPT))


async def _of_house(db: AsyncConnection, now: datetime) -> dict[str, float]:
    turns = await turn_figures(db, now)
    waiting = (run.c.status == literal_column("'queued'")) | run.c.executor.is_(None)  # no value: it is grouped by
    unfinished = run.c.status.in_(("queued", "working"))
    counted = await db.execute(select(waiting, func.count()).where(unfinished).group_by(waiting))
    runs = {bool(waits): count for waits, count in counted}
    found = {
        "runs_waiting": runs.get(True, 0),
        "runs_at_work": runs.get(False, 0),
        "error_rate": turns.error_rate,
        "turn_seconds_median": turns.median,
        "turn_seconds_p95": turns.p95,
    }
    return {name: float(value) for name, value in found.items() if value is not None}
