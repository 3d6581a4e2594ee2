"""What the record has of one run beside its journal: its turns, what it asked, and what the ledger counts for it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select

from atlas_mcp.model.turn import TurnResult
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

_TURN, _QUESTION, _LEDGER = tables.turn, tables.question, tables.ledger
_TURNS = select(_TURN).where(_TURN.c.run_id == bindparam("run")).order_by(_TURN.c.started_at, _TURN.c.id)
_ASKED = select(_QUESTION).where(_QUESTION.c.run_id == bindparam("run")).order_by(_QUESTION.c.asked_at, _QUESTION.c.id)
_CHARGED = (
    select(_LEDGER.c.turn, _LEDGER.c.model, *(func.sum(_LEDGER.c[n]) for n in ("turns", "tokens", "usd")))
    .where(_LEDGER.c.run_id == bindparam("run"))
    .group_by(_LEDGER.c.turn, _LEDGER.c.model)
)


@dataclass(frozen=True)
class KeptTurn:
    """A turn: what was said to whom, and how it ended: `started`, `done` or `failed`."""

    id: str
    agent: str
    message: str
    status: str
    result: TurnResult | None
    error: str
    started_at: datetime
    finished_at: datetime | None


@dataclass(frozen=True)
class KeptQuestion:
    """A question to a person, and the answer if there is one."""

    asked_by: str
    text: str
    asked_at: datetime
    answer: str
    answered_by: str
    answered_at: datetime | None


@dataclass(frozen=True)
class Entered:
    """What the ledger has for a turn; `usd` is None where the model has no known price."""

    turn: str
    model: str
    turns: int
    tokens: int
    usd: float | None


@dataclass(frozen=True)
class Kept:
    """All of it."""

    turns: tuple[KeptTurn, ...]
    asked: tuple[KeptQuestion, ...]
    entered: tuple[Entered, ...]


async def kept(connection: AsyncConnection, run_id: str) -> Kept:
    """What there is of the run, whose caller the one who asks must be."""
    here = {"run": run_id}
    turns = [_turn(row) for row in await connection.execute(_TURNS, here)]
    asked = [
        KeptQuestion(r.asked_by, r.text, r.asked_at, r.answer or "", r.answered_by or "", r.answered_at)
        for r in await connection.execute(_ASKED, here)
    ]
    rows: Any = await connection.execute(_CHARGED, here)
    entered = [
        Entered(turn, model, int(turns), int(tokens), None if usd is None else float(usd))
        for turn, model, turns, tokens, usd in rows
    ]
    return Kept(tuple(turns), tuple(asked), tuple(entered))


def _turn(row: Any) -> KeptTurn:
    result = TurnResult.model_validate(row.result) if row.result else None
    return KeptTurn(
        row.id, row.agent, row.message, row.status, result, row.error or "", row.started_at, row.finished_at
    )
