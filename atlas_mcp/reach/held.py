"""Calls of tools that wait for the caller's yes, with their exact arguments, and what became of them.

Promise: a call is held once, however often its turn is taken up again, and begun once, by whichever process is first.
One that was begun by a process that did not live to tell its end is known as such, and never made again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import func, insert, select, update

from atlas_mcp.store.reach_tables import held_call

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.permissions import Approval, Mark

State = Literal["asked", "approved", "refused", "begun", "done", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class HeldCall:
    """A call that waits, or waited: `turn` is the key of the agent's turn in the run, `answer` what the tool gave."""

    id: str
    caller: str
    run_id: str
    turn: str
    agent: str
    tool: str
    arguments: dict[str, Any]
    sha256: str
    marks: tuple[Mark, ...]
    approval: Approval
    state: State = "asked"
    answer: str | None = None


def new(
    caller: str,
    run_id: str,
    turn: str,
    agent: str,
    tool: str,
    arguments: Mapping[str, Any],
    *,
    marks: tuple[Mark, ...],
    approval: Approval,
) -> HeldCall:
    """A call to be held; the same call in the same turn is the same one."""
    exact = json.dumps([tool, arguments], sort_keys=True, ensure_ascii=False)
    sha256 = hashlib.sha256(exact.encode()).hexdigest()
    own = hashlib.sha256("\n".join([run_id, turn, agent, sha256]).encode()).hexdigest()
    return HeldCall(f"h_{own[:20]}", caller, run_id, turn, agent, tool, dict(arguments), sha256, marks, approval)


async def hold(db: AsyncConnection, call: HeldCall) -> HeldCall:
    """Hold the call, or find that it is held already, as it stands now. The caller's only writer must call this."""
    known = (await db.execute(select(held_call).where(held_call.c.id == call.id))).one_or_none()
    if known is not None:
        return _call(known)
    row = {name: getattr(call, name) for name in HeldCall.__slots__}
    await db.execute(insert(held_call), {**row, "marks": [*call.marks], "at": datetime.now(UTC)})
    return call


async def refused_before(db: AsyncConnection, call: HeldCall) -> bool:
    """Whether exactly this call was rejected in the run before, whoever made it."""
    query = select(func.count()).where(
        held_call.c.run_id == call.run_id, held_call.c.sha256 == call.sha256, held_call.c.state == "refused"
    )
    return bool((await db.execute(query)).scalar_one())


async def others(db: AsyncConnection, call: HeldCall) -> int:
    """How many other calls the run has held."""
    query = select(func.count()).where(held_call.c.run_id == call.run_id, held_call.c.id != call.id)
    return (await db.execute(query)).scalar_one()


async def of_turn(db: AsyncConnection, run_id: str, turn: str) -> list[HeldCall]:
    """What one turn held, in the order of the calls."""
    mine = (held_call.c.run_id == run_id, held_call.c.turn == turn)
    query = select(held_call).where(*mine).order_by(held_call.c.at, held_call.c.id)
    return [_call(row) for row in await db.execute(query)]


async def now(db: AsyncConnection, call: HeldCall) -> HeldCall:
    """The call as it stands now."""
    return _call((await db.execute(select(held_call).where(held_call.c.id == call.id))).one())


async def move(db: AsyncConnection, call: HeldCall, to: State, answer: str | None = None) -> bool:
    """Let it be in that state, unless it is not any more in the one that `call` says: whether it is now."""
    done = await db.execute(
        update(held_call)
        .where(held_call.c.id == call.id, held_call.c.state == call.state)
        .values(state=to, answer=answer)
    )
    return bool(done.rowcount)


def _call(row: Any) -> HeldCall:
    values: dict[str, Any] = {name: getattr(row, name) for name in HeldCall.__slots__}
    values["marks"] = tuple(row.marks)
    return HeldCall(**values)
