"""Agents' and teams' figures over time: hour by hour, of all callers, in the runs "agents" and "teams" of MLflow.

Made of the record when the hour is over, chats and runs alike. The same hour told again is the same note, so nothing
has to be remembered of what was told: a process that begins tells the last day's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from atlas_mcp.model.result import Result
from atlas_mcp.store.tables import ledger, run, turn
from atlas_mcp.watch.alerts.tasks import mean_rating
from atlas_mcp.watch.notes import MetricsNote

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TeamOf = Callable[[str], str]

_HOUR = timedelta(hours=1)
_BACK = 24
_SETTLES = timedelta(minutes=10)
"""So long after an hour its figures are told: turns that began in it have mostly ended then."""


class Hours:
    """Knows which hours this process has told."""

    def __init__(self) -> None:
        self._told: datetime | None = None

    async def due(self, db: AsyncConnection, now: datetime, team_of: TeamOf) -> list[MetricsNote]:
        """The notes on the hours that are over and were not told yet; at most the last day's."""
        last = (now - _SETTLES).replace(minute=0, second=0, microsecond=0)
        first = max(self._told or last - _BACK * _HOUR, last - _BACK * _HOUR)
        found: list[MetricsNote] = []
        while first < last:
            found += await hour_notes(db, first, team_of)
            first += _HOUR
        self._told = last
        return found


async def hour_notes(db: AsyncConnection, hour: datetime, team_of: TeamOf) -> list[MetricsNote]:
    """The agents' and the teams' figures of the turns begun in that hour; none where nobody worked."""
    within = (turn.c.started_at >= hour, turn.c.started_at < hour + _HOUR)
    columns = (turn.c.id, turn.c.agent, turn.c.status, turn.c.started_at, turn.c.finished_at, turn.c.run_id)
    turns: list[Any] = list(await db.execute(select(*columns).where(*within)))
    if not turns:
        return []
    sums = select(ledger.c.turn, func.sum(ledger.c.tokens), func.sum(ledger.c.usd))
    query = sums.join_from(turn, ledger, ledger.c.turn == turn.c.id).where(*within).group_by(ledger.c.turn)
    spent: dict[str, Any] = {row[0]: row for row in await db.execute(query)}
    ratings = await _ratings(db, hour)
    agents = _figures(turns, spent, ratings, lambda agent: agent)
    teams = _figures(turns, spent, ratings, team_of)
    at = round(hour.timestamp() * 1_000)
    return [
        MetricsNote(key=f"{series}/{at}", series=series, values=values, at_ms=at)
        for series, values in (("agents", agents), ("teams", teams))
        if values
    ]


async def _ratings(db: AsyncConnection, hour: datetime) -> dict[str, float]:
    """What the team tasks that had a turn in the hour were rated, of those that have ended."""
    tasks = select(turn.c.run_id).where(turn.c.started_at >= hour, turn.c.started_at < hour + _HOUR).distinct()
    query = select(run.c.id, run.c.result).where(run.c.kind == "team_task", run.c.id.in_(tasks))
    found = {row.id: mean_rating(Result.model_validate(row.result)) for row in await db.execute(query) if row.result}
    return {run_id: mean for run_id, mean in found.items() if mean is not None}


def _figures(
    turns: Iterable[Any], spent: Mapping[str, Any], ratings: Mapping[str, float], whose: TeamOf
) -> dict[str, float]:
    figures: defaultdict[str, float] = defaultdict(float)
    made: defaultdict[str, set[str]] = defaultdict(set)
    for one in turns:
        name = whose(one.agent)
        if not name:
            continue
        figures[f"{name}/turns"] += 1
        figures[f"{name}/failures"] += one.status == "failed"
        if one.finished_at:
            figures[f"{name}/seconds"] += max(0.0, (one.finished_at - one.started_at).total_seconds())
        _, tokens, usd = spent.get(one.id, (one.id, 0, None))
        figures[f"{name}/tokens"] += max(0, int(tokens or 0))
        if usd is not None:
            figures[f"{name}/cost_usd"] += max(0.0, float(usd))
        if one.run_id in ratings:
            made[name].add(one.run_id)
    for name, runs in made.items():
        figures[f"{name}/rating"] = sum(ratings[run_id] for run_id in runs) / len(runs)
    return dict(figures)
