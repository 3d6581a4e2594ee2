"""What was spent, from the ledger, added up by agent, team, task, project, caller, model or day; of all callers.

What others wrote (goals, names of projects) is not told: their callers are hashed, and their projects are one line.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import case, func, select

from atlas_mcp.model.costs import CostLine, Costs, CostsBy
from atlas_mcp.store.tables import ledger, run, turn
from atlas_mcp.watch.calls import hashed_caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

NOBODY: Final = "(not known)"
NO_TEAM: Final = "(no team)"
NO_RUN: Final = "(chats)"
NO_PROJECT: Final = "(no project)"
OTHERS: Final = "(other callers' projects)"

_UNPRICED: Final = func.sum(case((ledger.c.usd.is_(None), ledger.c.tokens), else_=0))
_SUMS: Final = (func.sum(ledger.c.turns), func.sum(ledger.c.tokens), func.sum(ledger.c.usd), _UNPRICED)
_PROJECT: Final = run.c.input[("input", "project")].as_string()
_KEYS: Final[dict[CostsBy, tuple[Any, ...]]] = {
    "agent": (turn.c.agent,),
    "team": (turn.c.agent,),
    "task": (ledger.c.run_id, ledger.c.caller, run.c.goal),
    "project": (ledger.c.caller, _PROJECT),
    "caller": (ledger.c.caller,),
    "model": (ledger.c.model,),
    "day": (ledger.c.day,),
}


async def costs(
    db: AsyncConnection, own: Caller, by: CostsBy, since: date, until: date, team_of: Callable[[str], str]
) -> Costs:
    """What was spent on the days from `since` to `until`, both included, told to the home's `own` caller."""
    keys = [column.label(f"key{n}") for n, column in enumerate(_KEYS[by])]
    query = (
        select(*keys, *_SUMS)
        .outerjoin_from(ledger, turn, turn.c.id == ledger.c.turn)
        .outerjoin(run, run.c.id == ledger.c.run_id)
        .where(ledger.c.day.between(since.isoformat(), until.isoformat()))
        .group_by(*keys)
    )
    added: defaultdict[tuple[str, str | None], list[float]] = defaultdict(lambda: [0, 0, 0.0, 0])
    for row in await db.execute(query):
        found: tuple[Any, ...] = tuple(row)
        into = added[_named(by, found[: len(keys)], own, team_of)]
        for place, value in enumerate(found[len(keys) :]):
            into[place] += float(value or 0)
    lines = [_line(name, goal, sums) for (name, goal), sums in added.items()]
    lines.sort(key=(lambda line: (line.name,)) if by == "day" else (lambda line: (-line.usd, -line.tokens, line.name)))
    total = _line("total", None, [sum(column) for column in zip(*added.values(), strict=True)] or [0, 0, 0.0, 0])
    return Costs(by=by, since=since, until=until, lines=lines, total=total)


def _named(by: CostsBy, key: tuple[Any, ...], own: Caller, team_of: Callable[[str], str]) -> tuple[str, str | None]:
    """What the line is called, and its task's goal."""
    match by:
        case "agent":
            return key[0] or NOBODY, None
        case "team":
            return (team_of(key[0]) or NO_TEAM) if key[0] else NOBODY, None
        case "task":
            return key[0] or NO_RUN, key[2] if key[1] == own.id and key[0] else None
        case "project":
            return (key[1] or NO_PROJECT) if key[0] == own.id or not key[1] else OTHERS, None
        case "caller":
            return key[0] if key[0] == own.id else hashed_caller(key[0]), None
        case "model" | "day":
            return str(key[0]), None


def _line(name: str, goal: str | None, sums: Iterable[float]) -> CostLine:
    turns, tokens, usd, unpriced = sums
    return CostLine(
        name=name, goal=goal, turns=int(turns), tokens=int(tokens), usd=max(0.0, usd), unpriced_tokens=int(unpriced)
    )
