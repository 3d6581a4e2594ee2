"""What speaks against a prompt: the turns that were taken with it, and what was found wrong with them.

Of one caller only, for the caller's own eyes and model: people's bad feedback with their words, ratings below the pass
mark of the texts that the agent worked on, checks that those texts did not pass, and answers that could not be used.
Raters are not held to account for what others wrote: of them only feedback and unusable answers count.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from pydantic import Field
from sqlalchemy import or_, select

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.result import PASS_MARK, Result
from atlas_mcp.model.turn import TurnResult
from atlas_mcp.store.quality_tables import example, feedback
from atlas_mcp.store.tables import event, run, turn
from atlas_mcp.watch.payload import clean

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller

MOST = 10
"""Pieces that are shown to the optimiser: the newest."""

_LOOKED_AT = 300
_LONGEST = 1_500
_REASONS = 8
_UNUSABLE = "answer cannot be used: "


class Piece(Frozen):
    """One turn that went wrong: what the agent was asked, what it answered, and why that was not good enough.

    `score` is 0 to 1, as MLflow's optimisers count.
    """

    run_id: str | None
    asked: str
    answered: str
    score: float = Field(ge=0, le=1)
    reasons: tuple[str, ...]


async def collect(
    db: AsyncConnection,
    caller: Caller,
    *,
    agent: str | None = None,
    opening: str = "",
    rates: bool = False,
    without: Collection[str | None] = (),
) -> tuple[list[Piece], int]:
    """The newest pieces against that agent, or against questions that begin like that; and among how many turns they
    were looked for.

    `rates`: these turns rate what others wrote. Those of the runs in `without` are left out: the comparison needs them.
    """
    about = turn.c.agent == agent if agent else turn.c.message.startswith(opening, autoescape=True)
    mine = (turn.c.caller == caller.id, about, turn.c.status == "done")
    rows = [
        row
        for row in await db.execute(select(turn).where(*mine).order_by(turn.c.started_at.desc()).limit(_LOOKED_AT))
        if row.run_id is None or row.run_id not in without
    ]
    ids, runs = [row.id for row in rows], {row.run_id for row in rows if row.run_id}
    said = await _feedback(db, caller, ids, runs)
    judged = {} if rates else await _judged(db, caller, runs)
    unusable = await _unusable(db, ids)
    pieces: list[Piece] = []
    for row in rows:
        scores, reasons = [*judged.get(row.run_id, ([], []))[0]], [*judged.get(row.run_id, ([], []))[1]]
        for words in (*said.get(row.id, ()), *said.get(row.run_id, ())):
            scores, reasons = [*scores, 0.0], [f"a person found it bad{f': {words}' if words else '.'}", *reasons]
        for words in unusable.get(row.id, ()):
            scores, reasons = [*scores, 0.0], [f"the answer could not be used: {words}", *reasons]
        if reasons:
            told = TurnResult.model_validate(row.result).reply if row.result else ""
            pieces.append(
                Piece(
                    run_id=row.run_id,
                    asked=clean(row.message, _LONGEST),
                    answered=clean(told, _LONGEST),
                    score=sum(scores) / len(scores),
                    reasons=tuple(clean(reason, 400) for reason in reasons[:_REASONS]),
                )
            )
    return pieces[:MOST], len(rows)


async def held_out(db: AsyncConnection, caller: Caller, suite: str) -> list[str | None]:
    """The runs of which the examples of that set were made; None for one that was made of no run."""
    rows = select(example.c.run_id).where(example.c.caller == caller.id, example.c.suite == suite)
    return list((await db.execute(rows)).scalars())


async def _feedback(
    db: AsyncConnection, caller: Caller, turns: Iterable[str], runs: Iterable[str]
) -> dict[str, list[str]]:
    """The words of bad feedback, by the turn or the run that it is about."""
    about = or_(feedback.c.turn_id.in_(list(turns)), feedback.c.run_id.in_(list(runs)))
    bad = (feedback.c.caller == caller.id, feedback.c.good.is_(False), about)
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in await db.execute(select(feedback).where(*bad).order_by(feedback.c.at)):
        found[row.turn_id or row.run_id].append(row.comment.strip())
    return found


async def _judged(
    db: AsyncConnection, caller: Caller, runs: Iterable[str]
) -> dict[str | None, tuple[list[float], list[str]]]:
    """What ratings and checks say against the texts of these runs: scores from 0 to 1, and reasons."""
    mine = (run.c.caller == caller.id, run.c.id.in_(list(runs)), run.c.kind == "team_task", run.c.result.is_not(None))
    found: dict[str | None, tuple[list[float], list[str]]] = {}
    for row in await db.execute(select(run.c.id, run.c.result).where(*mine)):
        if not row.result:
            continue
        result = Result.model_validate(row.result)
        low = sorted((r for r in result.ratings if r.score < PASS_MARK), key=lambda r: r.score)
        failed = [check for check in result.checks if not check.passed]
        scores = [(r.score - 1) / 4 for r in low] + [0.0 for _ in failed]
        reasons = [f"{r.criterion}: {r.score:g} of 5, because {r.reason}" for r in low]
        reasons += [f"checked {check.name}: {check.text}" for check in failed]
        if reasons:
            found[row.id] = (scores, reasons)
    return found


async def _unusable(db: AsyncConnection, turns: Iterable[str]) -> dict[str, list[str]]:
    """Why answers could not be used, by turn, as the journal has it."""
    ends = (event.c.type == "turn_finished", event.c.turn_id.in_(list(turns)), event.c.text.contains(_UNUSABLE))
    found: defaultdict[str, list[str]] = defaultdict(list)
    for row in await db.execute(select(event.c.turn_id, event.c.text).where(*ends)):
        found[row.turn_id].append(row.text.partition(_UNUSABLE)[2])
    return found
