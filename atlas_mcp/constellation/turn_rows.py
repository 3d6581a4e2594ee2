"""The record's rows of turns: written before the message is sent, so that no turn is ever sent twice unknowingly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from atlas_mcp.constellation.names import turn_id
from atlas_mcp.errors import RunLost
from atlas_mcp.model.turn import TurnResult
from atlas_mcp.store.tables import turn
from atlas_mcp.watch.spans import current_trace_id

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller


# Built once: building statements costs as much as running them, and every turn runs these.
_MINE = turn.c.caller == bindparam("mine")
_BY_KEY = select(turn).where(_MINE, turn.c.key == bindparam("called"))
_BEGIN = insert(turn)
_CHANGE = update(turn).where(turn.c.id == bindparam("turn"), _MINE)
_CHANGE_IN = _CHANGE.where(turn.c.conversation == bindparam("thread"))
_OTHERS = select(turn.c.id).where(
    _MINE, turn.c.conversation == bindparam("thread"), turn.c.id != bindparam("turn"), turn.c.status == "started"
)


@dataclass(frozen=True, slots=True)
class TurnRow:
    """A turn as the record has it. `fresh`: the record had none, so nothing can have been sent yet."""

    id: str
    agent: str
    conversation: str
    message: str
    result: TurnResult | None
    fresh: bool = False


async def by_key(db: AsyncConnection, caller: Caller, key: str) -> TurnRow | None:
    """The turn with that idempotency key."""
    row = (await db.execute(_BY_KEY, {"mine": caller.id, "called": key})).one_or_none()
    return _row(row) if row else None


def new(caller: Caller, key: str, agent: str, conversation: str, message: str) -> TurnRow:
    """A turn with a key that the record does not have; `begin` writes it."""
    return TurnRow(turn_id(caller, key), agent, conversation, message, None, fresh=True)


async def begin(db: AsyncConnection, caller: Caller, row: TurnRow, key: str, run_id: str | None) -> None:
    """Note that the turn is under way; IntegrityError for a fresh one whose key somebody else has just written."""
    if not row.fresh:  # it may have failed before
        await change(db, caller, row.id, status="started", error=None, trace_id=current_trace_id())
        return
    values = {
        "id": row.id,
        "key": key,
        "caller": caller.id,
        "agent": row.agent,
        "conversation": row.conversation,
        "run_id": run_id,
        "trace_id": current_trace_id(),
        "message": row.message,
        "status": "started",
        "started_at": datetime.now(UTC),
    }
    await db.execute(_BEGIN, values)


async def change(db: AsyncConnection, caller: Caller, turn_id: str, **columns: Any) -> None:
    """Set these columns of the turn."""
    await db.execute(_CHANGE, {"turn": turn_id, "mine": caller.id, **columns})


async def unsettled(db: AsyncConnection, caller: Caller, row: TurnRow) -> list[str]:
    """The other turns of this one's conversation of whose end nothing is known, by their ids."""
    rows = await db.execute(_OTHERS, {"mine": caller.id, "thread": row.conversation, "turn": row.id})
    return list(rows.scalars())


async def finish(db: AsyncConnection, caller: Caller, result: TurnResult, letta_run: str | None) -> None:
    """Keep the turn's result; from now on its key gives this. RunLost where the turn is another process's by now."""
    told = result.model_dump(mode="json")
    end = {"status": "done", "result": told, "error": None, "letta_run": letta_run, "finished_at": datetime.now(UTC)}
    if not await _change_in(db, caller, result.turn_id, result.conversation, end):
        raise RunLost(result.turn_id)


async def fail(db: AsyncConnection, caller: Caller, turn_id: str, conversation: str, error: str) -> None:
    """Note that the turn failed; its key may be tried again."""
    end = {"status": "failed", "error": error, "finished_at": datetime.now(UTC)}
    await _change_in(db, caller, turn_id, conversation, end)


async def doubt(db: AsyncConnection, caller: Caller, turn_id: str, conversation: str, error: str) -> None:
    """Note why nobody waits for the turn any more, though it may still run in Letta."""
    await _change_in(db, caller, turn_id, conversation, {"status": "started", "error": error})


async def _change_in(
    db: AsyncConnection, caller: Caller, turn_id: str, conversation: str, columns: dict[str, Any]
) -> bool:
    """Set these columns, if the turn is still in that conversation.

    It is not where this process hung: then another one takes the turn anew, in a conversation of its own.
    """
    place = {"turn": turn_id, "mine": caller.id, "thread": conversation}
    return bool((await db.execute(_CHANGE_IN, {**place, **columns})).rowcount)


def _row(row: Any) -> TurnRow:
    result = TurnResult.model_validate(row.result) if row.result else None
    return TurnRow(row.id, row.agent, row.conversation, row.message, result)
