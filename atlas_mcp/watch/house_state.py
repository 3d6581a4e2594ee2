"""Gathering the state of a house from its record alone: nothing is asked of a server, and nothing is changed.

Promise: all figures are of one moment of the record, and work may go on meanwhile. Figures are of all callers together;
what a caller wrote, the goal of a task, is given for the one caller who asks.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select, text

from atlas_mcp.model.house_state import Amount, HouseState, ModelLine, Point, RunCount, Series, TaskLine
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import ENDED
from atlas_mcp.store.memory_tables import CURRENT, fact, memory
from atlas_mcp.store.quality_tables import sample
from atlas_mcp.store.tables import document, ledger, passage, run, turn
from atlas_mcp.watch.agent_lines import agent_lines
from atlas_mcp.watch.alerts.rows import raised_since
from atlas_mcp.watch.alerts.tasks import mean_rating

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

MOST_TASKS = 50
POINTS = 120
"""At most so many points has a figure over time: each is the mean of its stretch."""
_OF_PROCESSES = frozenset({"active_agents", "processor_share", "memory_bytes", "database_connections"})
_SIZE = {
    "sqlite": "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()",
    "postgresql": "SELECT pg_database_size(current_database())",
}


async def house_state(record: Record, caller: Caller, since: datetime, until: datetime) -> HouseState:
    """The state from `since` to `until`, for that caller to read."""
    async with record.read() as db:
        tasks, more = await _tasks(db, caller, since, until)
        return HouseState(
            since=since,
            until=until,
            runs=await _runs(db, since, until),
            tasks=tasks,
            more_tasks=more,
            agents=await agent_lines(db, since, until),
            models=await _models(db, since, until),
            alerts=await raised_since(db, since),
            health=await _health(db, since, until),
            memory=await _memory(db, since),
            record_bytes=(await db.exec_driver_sql(_SIZE[db.dialect.name])).scalar_one(),
        )


async def _runs(db: AsyncConnection, since: datetime, until: datetime) -> list[RunCount]:
    query = select(run.c.kind, run.c.status, func.count()).where(run.c.created_at.between(since, until))
    rows: list[Any] = list(await db.execute(query.group_by(run.c.kind, run.c.status).order_by(run.c.kind)))
    return [RunCount(kind=kind, status=status, runs=count) for kind, status, count in rows]


async def _tasks(db: AsyncConnection, caller: Caller, since: datetime, until: datetime) -> tuple[list[TaskLine], int]:
    lately = (run.c.kind == "team_task", run.c.created_at.between(since, until))
    total = (await db.execute(select(func.count()).where(*lately))).scalar_one()
    names = ("id", "caller", "status", "goal", "result", "created_at", "updated_at")
    query = select(*(run.c[name] for name in names)).where(*lately)
    rows: list[Any] = list(await db.execute(query.order_by(run.c.created_at.desc()).limit(MOST_TASKS)))
    spent = await _spent(db, [row.id for row in rows])
    return [_task(row, caller, spent.get(row.id, (0, 0, 0.0)), until) for row in rows], total - len(rows)


def _task(row: Any, caller: Caller, spent: tuple[int, int, float], until: datetime) -> TaskLine:
    result = Result.model_validate(row.result) if row.result else None
    end = row.updated_at if row.status in ENDED else until
    rating = mean_rating(result) if result else None
    return TaskLine(
        run_id=row.id,
        goal=row.goal if row.caller == caller.id else None,
        status=row.status,
        asked_at=row.created_at,
        seconds=max(0.0, (end - row.created_at).total_seconds()),
        turns=spent[0],
        tokens=spent[1],
        usd=max(0.0, spent[2]),
        rating=rating,
        passed=result.passed if result is not None and rating is not None else None,
    )


async def _spent(db: AsyncConnection, run_ids: Sequence[str]) -> dict[str, tuple[int, int, float]]:
    sums = [func.coalesce(func.sum(ledger.c[name]), 0) for name in ("turns", "tokens", "usd")]
    query = select(ledger.c.run_id, *sums).where(ledger.c.run_id.in_(run_ids)).group_by(ledger.c.run_id)
    rows: list[Any] = list(await db.execute(query))
    return {run_id: (int(turns), int(tokens), float(usd)) for run_id, turns, tokens, usd in rows}


async def _models(db: AsyncConnection, since: datetime, until: datetime) -> list[ModelLine]:
    unpriced = func.sum(case((ledger.c.usd.is_(None), ledger.c.tokens), else_=0))
    sums = [func.sum(ledger.c.turns), func.sum(ledger.c.tokens), func.coalesce(func.sum(ledger.c.usd), 0.0), unpriced]
    joined = select(ledger.c.model, *sums).join_from(turn, ledger, ledger.c.turn == turn.c.id)
    query = joined.where(turn.c.started_at.between(since, until)).group_by(ledger.c.model).order_by(ledger.c.model)
    rows: list[Any] = list(await db.execute(query))
    return [
        ModelLine(
            model=model, turns=int(turns), tokens=int(tokens), usd=max(0.0, float(usd)), unpriced_tokens=int(free)
        )
        for model, turns, tokens, usd, free in rows
    ]


async def _health(db: AsyncConnection, since: datetime, until: datetime) -> list[Series]:
    """Means of stretches of equal length: of a process's own figures the sum over processes, else the mean of all."""
    stretch = max(timedelta(minutes=1), (until - since) / POINTS)
    sums: defaultdict[tuple[str, int, str], list[float]] = defaultdict(list)
    query = select(sample.c.name, sample.c.at, sample.c.process, sample.c.value)
    for row in await db.execute(query.where(sample.c.at.between(since, until))):
        one: Any = row
        name, at, process, value = one
        sums[name, int((at - since) / stretch), process].append(value)
    means: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    for (name, number, _), values in sums.items():
        means[name, number].append(sum(values) / len(values))
    found: defaultdict[str, list[Point]] = defaultdict(list)
    for (name, number), values in sorted(means.items()):
        value = sum(values) / (1 if name in _OF_PROCESSES else len(values))
        found[name].append(Point(at=since + number * stretch, value=value))
    return [Series(name=name, points=points) for name, points in sorted(found.items())]


async def _memory(db: AsyncConnection, since: datetime) -> list[Amount]:
    """What is remembered now, by kind, and of it what was learned from runs; facts, documents, searched passages."""
    new = func.sum(case((memory.c.created_at >= since, 1), else_=0))
    query = select(memory.c.kind, func.count(), new).where(text(CURRENT)).group_by(memory.c.kind)
    kinds: list[Any] = list(await db.execute(query.order_by(memory.c.kind)))
    found = [Amount(what=f"memories, {kind.replace('_', ' ')}", total=total, new=int(n)) for kind, total, n in kinds]
    learned = (text(CURRENT), memory.c.run_id.is_not(None), memory.c.kind.in_(("long_term", "procedural")))
    total, fresh = (await db.execute(select(func.count(), new).where(*learned))).one()
    found.append(Amount(what="learned from runs, of these", total=total, new=int(fresh or 0)))
    for what, column in (("facts", fact.c.id), ("documents", document.c.id), ("passages", passage.c.id)):
        found.append(Amount(what=what, total=(await db.execute(select(func.count(column.distinct())))).scalar_one()))
    return found
