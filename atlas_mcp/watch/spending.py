"""What is spent, for people: today's by the ledger, and how open runs stand against their budgets."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from atlas_mcp.model.budget import Budget, RunSpending, Spending
from atlas_mcp.model.run import ENDED
from atlas_mcp.store.tables import ledger, run

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

_MOST_RUNS = 20


async def spending(db: AsyncConnection, caller: Caller, limit_usd: float | None) -> Spending:
    """What the caller spent or reserved since the day began in UTC, and by each team task that goes on."""
    today = datetime.now(UTC).date().isoformat()
    unpriced = func.sum(case((ledger.c.usd.is_(None), ledger.c.tokens), else_=0))
    query = select(func.sum(ledger.c.tokens), func.sum(ledger.c.usd), unpriced)
    found: Any = (await db.execute(query.where(ledger.c.caller == caller.id, ledger.c.day == today))).one()
    tokens, usd, unknown = found
    spent = max(0.0, float(usd or 0.0))
    return Spending(
        usd=spent,
        tokens=int(tokens or 0),
        unpriced_tokens=int(unknown or 0),
        limit_usd=limit_usd,
        left_usd=None if limit_usd is None else max(0.0, limit_usd - spent),
        runs=await _open_runs(db, caller),
    )


async def _open_runs(db: AsyncConnection, caller: Caller) -> list[RunSpending]:
    sums = [func.coalesce(func.sum(column), 0) for column in (ledger.c.turns, ledger.c.tokens, ledger.c.usd)]
    rows = await db.execute(
        select(run.c.id, run.c.budget, *sums)
        .outerjoin_from(run, ledger, ledger.c.run_id == run.c.id)
        .where(run.c.caller == caller.id, run.c.kind == "team_task", run.c.status.not_in(ENDED))
        .group_by(run.c.id)
        .order_by(run.c.created_at.desc())
        .limit(_MOST_RUNS)
    )
    found: list[RunSpending] = []
    for row in rows:
        one: Any = row
        run_id, budget, turns, tokens, usd = one
        left = _left(Budget.model_validate(budget or {}), int(turns), int(tokens), float(usd))
        found.append(RunSpending(run_id=run_id, turns=turns, tokens=tokens, usd=max(0.0, float(usd)), left=left))
    return found


def _left(budget: Budget, turns: int, tokens: int, usd: float) -> Budget | None:
    """What is left of it; of time nothing is said here."""
    left = Budget(
        usd=None if budget.usd is None else max(0.0, budget.usd - usd),
        tokens=None if budget.tokens is None else max(0, budget.tokens - tokens),
        turns=None if budget.turns is None else max(0, budget.turns - turns),
    )
    return left if left != Budget() else None
