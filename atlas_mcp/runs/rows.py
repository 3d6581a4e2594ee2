"""The run's row: the one truth about what state a run is in and which process executes it.

Every change is made in one transaction with its journal event and judged by the table in `model.run`. Who executes a
run is compared in every write of an executor: one that lost its run raises RunLost and changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import Text, bindparam, cast, delete, func, insert, literal_column, or_, select, update

from atlas_mcp.errors import IllegalChange, RunLost, UnknownRun
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.run import ENDED, Progress, RunKind, RunStatus, change
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import journal
from atlas_mcp.runs.changes import Entry
from atlas_mcp.runs.trace import current_trace, trace_of
from atlas_mcp.store import tables
from atlas_mcp.store.reach_tables import consent, held_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    RunRow: TypeAlias = Row[*tuple[Any, ...]]

_RUN = tables.run
_SHOWN = [column for column in _RUN.c if column.name != "input"]  # an input may hold megabytes of materials
_UNFINISHED: tuple[RunStatus, ...] = ("queued", "working")


# Built once: building them costs as much as running them, and an executor with fast models writes all the time.
_ADD = insert(_RUN)
_FIND = select(*_SHOWN).where(_RUN.c.id == bindparam("run"))
_HOLD = _FIND.with_for_update()
_DELETE = (
    delete(tables.event).where(tables.event.c.run_id == bindparam("run")),
    delete(tables.artifact).where(tables.artifact.c.run_id == bindparam("run")),
    delete(tables.question).where(tables.question.c.run_id == bindparam("run")),
    delete(consent).where(consent.c.run_id == bindparam("run")),
    delete(held_call).where(held_call.c.run_id == bindparam("run")),
    delete(_RUN).where(_RUN.c.id == bindparam("run")),
)
_PASS = delete(tables.artifact).where(tables.artifact.c.run_id == bindparam("run"), tables.artifact.c.passing)
_DELETE_OURS = delete(_RUN).where(
    _RUN.c.id == bindparam("run"), _RUN.c.executor == bindparam("me"), _RUN.c.status == "working"
)
_ALL_OF_IT = select(_RUN).where(_RUN.c.id == bindparam("run")).with_for_update()
_EXECUTOR = tables.executor
_HELD = (_RUN.c.status == literal_column("'working'")) & _RUN.c.executor.is_not(None)  # no value: it is grouped by
_ALIKE = (_RUN.c.caller, _RUN.c.kind, _RUN.c.executor, cast(_RUN.c.needs, Text))
_PLACED = (
    select(
        *(_RUN.c[n] for n in ("id", "caller", "kind", "status", "executor", "needs", "attempts", "created_at")),
        _HELD.label("held"),
        func.row_number().over(partition_by=(*_ALIKE, _HELD), order_by=(_RUN.c.created_at, _RUN.c.id)).label("place"),
    )
    .where(_RUN.c.status.in_(_UNFINISHED))
    .subquery()
)
_OPEN = (
    select(_PLACED, _EXECUTOR.c.beat)
    .outerjoin_from(_PLACED, _EXECUTOR, _EXECUTOR.c.name == _PLACED.c.executor)
    .where(or_(_PLACED.c.held, _PLACED.c.place <= bindparam("most")))
    .order_by(_PLACED.c.created_at, _PLACED.c.id)
)
_LOAD = (
    select(_RUN.c.caller, _HELD.label("held"), func.count().label("runs"))
    .where(_RUN.c.status.in_(_UNFINISHED), _RUN.c.kind != "turn")
    .group_by(_RUN.c.caller, _HELD)
)
_STAND = select(_RUN.c.status, _RUN.c.executor).where(_RUN.c.id == bindparam("run"))


_ASKED = Entry("caller", "run_queued", "Asked for.")
_STARTED = Entry("atlas", "run_started", "Begun.", data={"attempt": 1})


@dataclass(frozen=True, slots=True)
class Load:
    """How many runs each caller has at work, and how many that wait."""

    at_work: dict[str, int]
    waiting: dict[str, int]


class Order(Frozen):
    """What the row keeps of the request: who asked, for what, and the trace they asked from (W3C traceparent)."""

    caller: Caller
    input: dict[str, Any]
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Taken:
    """A run that a process has in its hands, and the attempt that it is about to make at it.

    `resumed`: an attempt had begun before. `attempt` counts those whose process ended or hung, from 1.
    """

    run_id: str
    kind: RunKind
    goal: str
    order: Order
    attempt: int = 1
    resumed: bool = False
    trace_id: str | None = None


async def add(
    connection: AsyncConnection,
    run_id: str,
    kind: RunKind,
    goal: str,
    order: Order,
    needs: list[str],
    executor: str | None,
    *,
    begun_with: Sequence[Entry] | None = None,
) -> None:
    """Store a new run as queued, to be executed by `executor`, or by whoever can if that is None; or as begun with
    those entries, when `executor` begins at once.
    """
    now = datetime.now(UTC)
    begun = begun_with is not None
    entries = [_ASKED, _STARTED, *begun_with] if begun_with is not None else [_ASKED]
    row = {
        "id": run_id,
        "caller": order.caller.id,
        "kind": kind,
        "status": "working" if begun else "queued",
        "goal": goal,
        "input": order.model_dump(mode="json"),
        "progress": Progress(text="working" if begun else "").model_dump(),
        "usage": Usage().model_dump(),
        "executor": executor,
        "needs": needs,
        "budget": order.input.get("budget"),
        "trace_id": trace_of(order.traceparent),
        "trace_ids": traces(None, trace_of(order.traceparent)),
        "attempts": 1 if begun else 0,
        "last_seq": len(entries),
        "created_at": now,
        "updated_at": now,
    }
    await connection.execute(_ADD, row)
    events = [(journal.numbered(entry, seq, now, seq - 1 or None), entry.key) for seq, entry in enumerate(entries, 1)]
    await journal.write(connection, run_id, events)


async def find(connection: AsyncConnection, run_id: str, caller: str | None = None, *, lock: bool = False) -> RunRow:
    """The row without its input; UnknownRun if there is none, or none of that caller. Locked, nobody else changes it
    until the transaction is over.
    """
    row = (await connection.execute(_HOLD if lock else _FIND, {"run": run_id})).one_or_none()
    if row is None or (caller is not None and row.caller != caller):
        raise UnknownRun(run_id)
    return row


async def is_there(connection: AsyncConnection, run_id: str) -> bool:
    """Whether there is such a run."""
    return (await connection.execute(_STAND, {"run": run_id})).first() is not None


async def stand(connection: AsyncConnection, run_id: str) -> RunRow:
    """The run's status and executor, which is all that one who follows it looks at; UnknownRun."""
    row = (await connection.execute(_STAND, {"run": run_id})).one_or_none()
    if row is None:
        raise UnknownRun(run_id)
    return row


async def set_trace(connection: AsyncConnection, run_id: str, executor: str, trace_id: str) -> None:
    """Note the trace of the attempt that `executor` makes; RunLost if it makes none."""
    row = await find(connection, run_id, lock=True)
    if row.executor != executor or row.status != "working":
        raise RunLost(run_id)
    await connection.execute(
        update(_RUN).where(_RUN.c.id == run_id).values(trace_id=trace_id, trace_ids=traces(row, trace_id))
    )


def traces(row: RunRow | None, more: str | None) -> list[str]:
    """The traces that show something of the run, the first first, with one that does now."""
    known: list[str] = [*(row.trace_ids or ())] if row is not None else []
    return [*known, more] if more and more not in known else known


async def move(
    connection: AsyncConnection, row: RunRow, to: RunStatus, entry: Entry, *, cause: int | None = None, **values: Any
) -> None:
    """Change the status of the run as read in this transaction, with its event and the seq of that one's cause.

    IllegalChange if the table forbids it.
    """
    status = row.status if row.status == to else change(row.status, to)
    now = datetime.now(UTC)
    progress = {**row.progress, "text": "working" if to == "working" else to}
    moved = await connection.execute(
        update(_RUN)
        .where(_RUN.c.id == row.id, _RUN.c.status == row.status, _RUN.c.last_seq == row.last_seq)
        .values(status=status, last_seq=row.last_seq + 1, updated_at=now, **{"progress": progress, **values})
    )
    if not moved.rowcount:
        # Only where readers do not exclude writers (PostgreSQL): somebody else was first.
        raise RunLost(row.id)
    await journal.append(connection, row.id, row.last_seq + 1, now, entry, cause)


async def begin(connection: AsyncConnection, run_id: str, of: str | None, executor: str) -> Taken | None:
    """Make the run, which is `of`'s, `executor`'s, count an attempt and set it working.

    None if there is nothing to execute: the run ended meanwhile, or is another process's.
    """
    row = (await connection.execute(_ALL_OF_IT, {"run": run_id})).one_or_none()
    if row is None or row.executor != of or row.status not in _UNFINISHED:
        return None
    resumed, attempt = row.status == "working", row.attempts + 1
    told = "Going on from what was done."
    entry = Entry("atlas", "run_resumed", told, data={"attempt": attempt}) if resumed else _STARTED
    kept = {"progress": row.progress} if resumed else {}
    await move(connection, row, "working", entry, cause=row.last_seq, executor=executor, attempts=attempt, **kept)
    order = Order.model_validate(row.input)
    return Taken(run_id, row.kind, row.goal, order, attempt=attempt, resumed=resumed, trace_id=row.trace_id)


async def end(
    connection: AsyncConnection, run_id: str, executor: str, to: RunStatus, entry: Entry, **values: Any
) -> None:
    """End a run that `executor` is working on; RunLost if it is not."""
    row = await find(connection, run_id, lock=True)
    if row.executor != executor or row.status in ENDED:
        raise RunLost(run_id)
    await move(connection, row, to, entry, **values)
    await connection.execute(_PASS, {"run": run_id})


async def cancel(connection: AsyncConnection, run_id: str, caller: str) -> RunRow | None:
    """Cancel the caller's run, and give it as it was; None, and no change, if it had ended. UnknownRun."""
    row = await find(connection, run_id, caller, lock=True)
    if row.status in ENDED:
        return None
    done, total = row.progress.get("done", 0), row.progress.get("total", 0)
    kept = f" {done} of {total} turns were done; what they gave is kept." if total else ""
    entry = Entry("caller", "run_cancelled", f"Cancelled.{kept}")
    await move(connection, row, "cancelled", entry, trace_ids=traces(row, current_trace()))
    await connection.execute(_PASS, {"run": run_id})
    return row


async def release(connection: AsyncConnection, run_id: str, executor: str) -> None:
    """Leave an unfinished run to whoever can go on with it. The attempt at it did not fail, and is not counted."""
    await connection.execute(
        update(_RUN)
        .where(_RUN.c.id == run_id, _RUN.c.executor == executor, _RUN.c.status.in_(_UNFINISHED))
        .values(executor=None, attempts=_RUN.c.attempts - 1)
    )


async def unfinished(connection: AsyncConnection, most: int) -> list[RunRow]:
    """The runs of the record that somebody is executing or should execute, oldest first, with their processes' beats.

    Of a caller's that wait alike (of a kind, for the same process, with the same needs) only the oldest `most`: a
    caller may have thousands, and no more than that can begin at once.
    """
    return list(await connection.execute(_OPEN, {"most": most}))


async def load(connection: AsyncConnection) -> Load:
    """How much each caller has at work and waiting, single turns apart."""
    found = [(row.caller, row.held, row.runs) for row in await connection.execute(_LOAD)]
    return Load(
        at_work={caller: runs for caller, held, runs in found if held},
        waiting={caller: runs for caller, held, runs in found if not held},
    )


async def not_ours(connection: AsyncConnection, run_ids: list[str], executor: str) -> list[str]:
    """Those of the runs that `executor` must stop: ended by somebody else, or executed by another process."""
    query = select(_RUN.c.id).where(
        _RUN.c.id.in_(run_ids),
        or_(_RUN.c.status.not_in(_UNFINISHED), _RUN.c.executor.is_distinct_from(executor)),
    )
    return list((await connection.execute(query)).scalars())


async def count_unfinished(connection: AsyncConnection, caller: str) -> int:
    """How many of the caller's runs have not ended."""
    query = select(func.count()).where(_RUN.c.caller == caller, _RUN.c.status.not_in(ENDED))
    return (await connection.execute(query)).scalar_one()


async def remove(connection: AsyncConnection, run_id: str, caller: str) -> None:
    """Delete an ended run of the caller with its journal and artifacts; UnknownRun, IllegalChange for one going on."""
    row = await find(connection, run_id, caller)
    if row.status not in ENDED:
        raise IllegalChange(f"a run that is {row.status} cannot be removed.", argument="run_id")
    await _delete(connection, run_id)


async def hand_over(connection: AsyncConnection, run_id: str, executor: str) -> None:
    """Delete a run that `executor` has done and whose outcome it hands over; RunLost if it is not at work on it."""
    ours = await connection.execute(_DELETE_OURS, {"run": run_id, "me": executor})
    if not ours.rowcount:
        raise RunLost(run_id)
    for statement in _DELETE[:2]:
        await connection.execute(statement, {"run": run_id})


async def _delete(connection: AsyncConnection, run_id: str) -> None:
    for statement in _DELETE:
        await connection.execute(statement, {"run": run_id})


async def artifact(connection: AsyncConnection, run_id: str, caller: str, name: str) -> str | None:
    """A text that the caller's run keeps under that name; UnknownRun."""
    await find(connection, run_id, caller)
    kept = tables.artifact
    query = select(kept.c.text).where(kept.c.run_id == run_id, kept.c.name == name)
    return (await connection.execute(query)).scalar_one_or_none()


async def page(
    connection: AsyncConnection, caller: str, status: RunStatus | None, before: tuple[datetime, str] | None, limit: int
) -> list[RunRow]:
    """Up to `limit` runs of the caller, without input, newest first, older than `before` (a moment and an id)."""
    query = select(*_SHOWN).where(_RUN.c.caller == caller)
    if status is not None:
        query = query.where(_RUN.c.status == status)
    if before is not None:
        at, run_id = before
        query = query.where(or_(_RUN.c.created_at < at, (_RUN.c.created_at == at) & (_RUN.c.id < run_id)))
    found = await connection.execute(query.order_by(_RUN.c.created_at.desc(), _RUN.c.id.desc()).limit(limit))
    return list(found)


async def named(connection: AsyncConnection, caller: str, text: str, limit: int) -> tuple[list[str], int]:
    """Ids of the caller's runs whose id begins so or whose goal holds the text, newest first; and how many."""
    sought = text.strip()
    here = _RUN.c.caller == caller
    if sought:
        here &= or_(_RUN.c.id.startswith(sought, autoescape=True), _RUN.c.goal.icontains(sought, autoescape=True))
    count = await connection.execute(select(func.count()).select_from(_RUN).where(here))
    newest = select(_RUN.c.id).where(here).order_by(_RUN.c.created_at.desc(), _RUN.c.id.desc()).limit(limit)
    return list((await connection.execute(newest)).scalars()), count.scalar_one()
