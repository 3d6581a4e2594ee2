"""What people say of runs and turns: `Atlas.feedback`.

Promise: it is recorded under the caller who gives it, of that caller's own work only, and once for each thing: another
one for the same replaces it. MLflow is told of it with the thing's trace.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING

from atlas_mcp.errors import UnknownRun
from atlas_mcp.model.feedback import Feedback, Subject, checked
from atlas_mcp.watch import notes
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.notes import FeedbackNote

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.caller import Caller

NAME = "user_feedback"
"""As MLflow shows it."""
_LISTED = 100


@dataclass(frozen=True, slots=True)
class _Thing:
    """What is meant: of a chat its turn, with the id of its run, which may be kept no more; else the run."""

    run_id: str | None
    turn_id: str | None
    trace_id: str | None

    def key(self, caller: Caller) -> str:
        """The same for the same caller and thing."""
        return f"fb_{sha256(f'{caller.id} {self.turn_id or self.run_id}'.encode()).hexdigest()[:24]}"


class FeedbackDesk:
    """Where a home's callers leave what they think of its work. Every method takes the caller first."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper

    async def give(self, caller: Caller, subject: Subject, *, good: bool, comment: str | None = None) -> Feedback:
        """Record whether that run or turn of the caller's was good, and why; what was recorded.

        InvalidInput unless exactly one thing is named, UnknownRun for what the caller has not got, OverLimit for a
        comment of more than 10,000 characters.
        """
        _, said = subject.named, checked(comment)
        rooms, now = await self._keeper.rooms(), datetime.now(UTC)
        async with rooms.record.write(caller.id) as db:
            thing = await _found(db, caller, subject)
            replaced = await _put(db, caller, thing, Feedback(good=good, comment=said, replaced=False, at=now))
        if thing.trace_id:
            note = FeedbackNote(
                key=thing.key(caller),
                trace_id=thing.trace_id,
                name=NAME,
                value=good,
                rationale=said,
                source="human",
                source_id=hashed_caller(caller.id),
                at_ms=int(now.timestamp() * 1000),
            )
            notes.tell(note)
        return Feedback(good=good, comment=said, replaced=replaced, at=now, **asdict(thing))

    async def listed(self, caller: Caller, run_ids: Sequence[str] | None = None) -> list[Feedback]:
        """What the caller has said, newest first: of these runs, or the last hundred."""
        from sqlalchemy import select

        from atlas_mcp.store.quality_tables import feedback

        query = select(feedback).where(feedback.c.caller == caller.id).order_by(feedback.c.at.desc())
        query = query.limit(_LISTED) if run_ids is None else query.where(feedback.c.run_id.in_(run_ids))
        async with (await self._keeper.rooms()).record.read() as db:
            rows = list(await db.execute(query))
        names = ("run_id", "turn_id", "trace_id", "good", "comment", "at")
        return [Feedback(replaced=False, **{name: getattr(row, name) for name in names}) for row in rows]


async def _found(db: AsyncConnection, caller: Caller, subject: Subject) -> _Thing:
    """What the caller means. UnknownRun."""
    from sqlalchemy import select

    from atlas_mcp.store.tables import run, turn

    argument, value = subject.named
    if argument != "turn_id":
        called = {"run_id": run.c.id, "trace_id": run.c.trace_id}[argument] == value
        runs = select(run.c.id, run.c.trace_id).where(run.c.caller == caller.id, called, run.c.kind != "turn")
        if row := (await db.execute(runs.order_by(run.c.created_at.desc()).limit(1))).one_or_none():
            return _Thing(row.id, None, row.trace_id)
    called = {"run_id": turn.c.run_id, "trace_id": turn.c.trace_id, "turn_id": turn.c.id}[argument] == value
    turns = select(turn.c.run_id, turn.c.id, turn.c.trace_id).where(turn.c.caller == caller.id, called)
    row = (await db.execute(turns.order_by(turn.c.started_at.desc()).limit(1))).one_or_none()
    if row is None:
        raise UnknownRun(value, argument)
    return _Thing(row.run_id, row.id, row.trace_id)


async def _put(db: AsyncConnection, caller: Caller, thing: _Thing, given: Feedback) -> bool:
    """Write the row anew; whether there was one."""
    from sqlalchemy import delete, insert

    from atlas_mcp.store.quality_tables import feedback

    row = {"id": thing.key(caller), "caller": caller.id, "client": caller.client, **asdict(thing)}
    row |= {"good": given.good, "comment": given.comment, "at": given.at}
    gone = await db.execute(delete(feedback).where(feedback.c.id == row["id"], feedback.c.caller == caller.id))
    await db.execute(insert(feedback).values(row))
    return bool(gone.rowcount)
