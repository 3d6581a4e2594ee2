"""What is found of team tasks: too long, too dear, not good enough, a budget nearly used up.

A task is looked at while it goes on, and for an hour after its end, so that what it raised is seen by somebody who
was not there. A task's time is what it was at work: waiting for a person's answer is not counted.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from sqlalchemy import func, or_, select

from atlas_mcp.model.budget import Budget
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import ENDED, RunStatus
from atlas_mcp.store.tables import ledger, question, run
from atlas_mcp.watch.alerts.ages import Ages
from atlas_mcp.watch.alerts.rules import Finding
from atlas_mcp.watch.limits import money

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.alert import RuleName
    from atlas_mcp.watch.alerts.rules import Thresholds

AFTER_END = timedelta(hours=1)
_LONGEST = timedelta(days=3)
"""How long ago an ended task may have been asked for: further back nobody looks, for there is no index of ends."""
_REMEMBERED = 2_000
_GOING_ON = sorted(set(get_args(RunStatus)) - ENDED)
_COLUMNS = [run.c[name] for name in ("id", "caller", "status", "budget", "trace_id", "created_at", "updated_at")]


class Tasks:
    """Looks at the team tasks of a record, time after time."""

    def __init__(self, thresholds: Thresholds, ages: Ages | None = None) -> None:
        self._beyond = thresholds
        self._ages = ages or Ages()
        self._quality: OrderedDict[str, float | None] = OrderedDict()

    async def look(self, db: AsyncConnection, now: datetime) -> list[Finding]:
        """What is beyond a threshold of those that go on, or ended within the last hour."""
        rows = await _lately(db, now)
        if not rows:
            return []
        seconds = self._seconds(rows, now)
        spent = await _spent(db, [row.id for row in rows])
        found: list[Finding] = []
        for row in rows:
            found += await self._of_time(db, row, seconds[row.id], now)
            found += self._of_cost(row, spent.get(row.id, (0, 0, 0.0)))
        return found + await self._of_quality(db, rows)

    def _seconds(self, rows: Sequence[Any], now: datetime) -> dict[str, float]:
        going_on = {r.id: (now - r.created_at).total_seconds() for r in rows if r.status not in ENDED}
        seconds = self._ages.look(going_on)
        for row in rows:
            if row.status in ENDED:
                seconds[row.id] = self._ages.ended(row.id, (row.updated_at - row.created_at).total_seconds())
        self._ages.forget_all_but(seconds)
        return seconds

    async def _of_time(self, db: AsyncConnection, row: Any, seconds: float, now: datetime) -> list[Finding]:
        most = self._beyond.task_seconds
        if most is None or seconds <= most:
            return []
        seconds -= await _waited(db, row.id, row.updated_at if row.status in ENDED else now)
        if seconds <= most:
            return []
        text = f"Team task {row.id} has been at work for more than {most:g} s."
        return [_finding(row, "task_seconds", text, seconds, most)]

    def _of_cost(self, row: Any, spent: tuple[int, int, float]) -> list[Finding]:
        turns, tokens, usd = spent
        found: list[Finding] = []
        most, share = self._beyond.task_usd, self._beyond.budget
        if most is not None and usd > most:
            text = f"Team task {row.id} has spent or reserved more than {money(most)}."
            found.append(_finding(row, "task_usd", text, usd, most))
        if share is None or row.status in ENDED:
            return found
        budget = Budget.model_validate(row.budget or {})
        used = {"dollars": (usd, budget.usd), "tokens": (tokens, budget.tokens), "turns": (turns, budget.turns)}
        shares = {what: amount / limit for what, (amount, limit) in used.items() if limit}
        if shares and max(shares.values()) >= share:
            what = max(shares, key=lambda one: shares[one])
            text = f"Team task {row.id} has used {shares[what]:.0%} of its budget of {what}."
            found.append(_finding(row, "budget", text, shares[what], share))
        return found

    async def _of_quality(self, db: AsyncConnection, rows: Sequence[Any]) -> list[Finding]:
        least = self._beyond.quality
        if least is None:
            return []
        done = [row for row in rows if row.status == "completed"]
        await self._read_quality(db, [row.id for row in done if row.id not in self._quality])
        found: list[Finding] = []
        for row in done:
            mean = self._quality.get(row.id)
            if mean is not None and mean < least:
                text = f"Team task {row.id} was rated {mean:.1f} of 5, below {least:g}."
                found.append(_finding(row, "quality", text, mean, least))
        return found

    async def _read_quality(self, db: AsyncConnection, run_ids: Sequence[str]) -> None:
        """Results are long, and those of ended runs never change: each is read once."""
        for run_id in run_ids:
            result = (await db.execute(select(run.c.result).where(run.c.id == run_id))).scalar_one_or_none()
            self._quality[run_id] = mean_rating(Result.model_validate(result)) if result else None
        while len(self._quality) > _REMEMBERED:
            self._quality.popitem(last=False)


def mean_rating(result: Result) -> float | None:
    """The mean of the best round's ratings; None where nobody rated it."""
    scores = [one.score for one in result.ratings if one.round == result.best_round]
    return sum(scores) / len(scores) if scores else None


async def _lately(db: AsyncConnection, now: datetime) -> Sequence[Any]:
    ended = run.c.status.in_(ENDED) & (run.c.created_at >= now - _LONGEST) & (run.c.updated_at >= now - AFTER_END)
    of_tasks = select(*_COLUMNS).where(run.c.kind == "team_task")
    query = of_tasks.where(or_(run.c.status.in_(_GOING_ON), ended)).order_by(run.c.created_at.desc())
    return list(await db.execute(query.limit(_REMEMBERED)))


async def _spent(db: AsyncConnection, run_ids: Sequence[str]) -> dict[str, tuple[int, int, float]]:
    """What each run spent or reserved: turns, tokens and dollars."""
    sums = [func.coalesce(func.sum(column), 0) for column in (ledger.c.turns, ledger.c.tokens, ledger.c.usd)]
    query = select(ledger.c.run_id, *sums).where(ledger.c.run_id.in_(run_ids)).group_by(ledger.c.run_id)
    rows: list[Any] = list(await db.execute(query))
    return {run_id: (int(turns), int(tokens), float(usd)) for run_id, turns, tokens, usd in rows}


async def _waited(db: AsyncConnection, run_id: str, until: datetime) -> float:
    """The seconds in which it had asked something and had no answer yet; questions may overlap."""
    query = select(question.c.asked_at, question.c.answered_at).where(question.c.run_id == run_id)
    spans: list[Any] = sorted((asked, answered or until) for asked, answered in await db.execute(query))
    total, reached = 0.0, None
    for begun, ended in spans:
        new = begun if reached is None else max(begun, reached)
        total += max(0.0, (ended - new).total_seconds())
        reached = ended if reached is None else max(reached, ended)
    return total


def _finding(row: Any, rule: RuleName, text: str, value: float, threshold: float) -> Finding:
    return Finding(rule, row.id, text, value, threshold, row.caller, row.id, row.trace_id)
