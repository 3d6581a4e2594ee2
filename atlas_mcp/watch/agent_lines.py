"""How each agent's turns went, of all callers: how many, how many failed, how long they took and what they cost."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from atlas_mcp.model.house_state import AgentLine
from atlas_mcp.store.tables import ledger, turn
from atlas_mcp.watch.turn_figures import quantile

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

_MOST = 100_000
"""Turns looked at, the newest: enough for a figure, and little enough for the memory of a command."""


async def agent_lines(db: AsyncConnection, since: datetime, until: datetime) -> list[AgentLine]:
    """One line for each agent that had a turn, the busiest first."""
    lately = turn.c.started_at.between(since, until)
    columns = (turn.c.agent, turn.c.status, turn.c.started_at, turn.c.finished_at)
    count: defaultdict[str, int] = defaultdict(int)
    failed: defaultdict[str, int] = defaultdict(int)
    took: defaultdict[str, list[float]] = defaultdict(list)
    for row in await db.execute(select(*columns).where(lately).order_by(turn.c.started_at.desc()).limit(_MOST)):
        one: Any = row
        count[one.agent] += 1
        failed[one.agent] += one.status == "failed"
        if one.status == "done" and one.finished_at is not None:
            took[one.agent].append(max(0.0, (one.finished_at - one.started_at).total_seconds()))
    spent = await _spent(db, since, until)
    lines: list[AgentLine] = []
    for agent, turns in sorted(count.items(), key=lambda pair: (-pair[1], pair[0])):
        ordered = sorted(took[agent])
        tokens, usd, unpriced = spent.get(agent, (0, 0.0, 0))
        lines.append(
            AgentLine(
                agent=agent,
                turns=turns,
                failed=failed[agent],
                median=quantile(ordered, 0.5),
                p95=quantile(ordered, 0.95),
                tokens=tokens,
                usd=usd,
                unpriced_tokens=unpriced,
            )
        )
    return lines


async def _spent(db: AsyncConnection, since: datetime, until: datetime) -> dict[str, tuple[int, float, int]]:
    """Tokens, dollars, and tokens without a price."""
    unpriced = func.sum(case((ledger.c.usd.is_(None), ledger.c.tokens), else_=0))
    sums = (func.sum(ledger.c.tokens), func.coalesce(func.sum(ledger.c.usd), 0.0), unpriced)
    joined = select(turn.c.agent, *sums).join_from(turn, ledger, ledger.c.turn == turn.c.id)
    query = joined.where(turn.c.started_at.between(since, until)).group_by(turn.c.agent)
    rows: list[Any] = list(await db.execute(query))
    return {agent: (int(tokens), max(0.0, float(usd)), int(free)) for agent, tokens, usd, free in rows}
