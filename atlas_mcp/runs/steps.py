"""A step of a run: several changes in one transaction, all of them or none.

Only the process that executes the run can take one; for others it is RunLost and nothing is changed. Events get their
numbers in the order of the changes, without gaps. What has a key that was written before is not written again.

The executor is the only one who writes to its run, but for whoever cancels it or takes it away. So it keeps in mind how
the run stands, and a step looks nothing up unless the row proves to be another than it was.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from atlas_mcp.errors import RunLost
from atlas_mcp.model.plan import Plan
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import Event, Progress
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import journal
from atlas_mcp.runs.changes import AFTER_THE_END, Change, Entry, Kept, Spent
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_RUN, _EVENT, _ARTIFACT = tables.run, tables.event, tables.artifact
_COLUMNS: dict[type[Change], str] = {Plan: "plan", Progress: "progress", Result: "result"}

# Built once: building statements costs as much as running them, and an executor with fast models writes all the time.
_LOOK = (
    select(_RUN.c.status, _RUN.c.last_seq, _RUN.c.usage)
    .where(_RUN.c.id == bindparam("run"), _RUN.c.executor == bindparam("me"))
    .where(_RUN.c.status.in_(("working", "cancelled")))
    .with_for_update()
)
_KEYED = select(_EVENT).where(_EVENT.c.run_id == bindparam("run"), _EVENT.c.key.is_not(None))
_TEXTS = select(_ARTIFACT.c.id, _ARTIFACT.c.name).where(_ARTIFACT.c.run_id == bindparam("run"))
_CHANGE_RUN = update(_RUN).where(
    _RUN.c.id == bindparam("run"),
    _RUN.c.executor == bindparam("me"),
    _RUN.c.status == bindparam("was"),
    _RUN.c.last_seq == bindparam("last"),
)
_REPLACE_TEXT = update(_ARTIFACT).where(_ARTIFACT.c.id == bindparam("artifact"))
_ADD_TEXT = insert(_ARTIFACT)


@dataclass(frozen=True, slots=True)
class Stand:
    """How the run stands: its last event, what it has cost, its events with keys, and the ids of its texts by name."""

    status: str
    last_seq: int
    usage: Usage
    keyed: Mapping[str, Event]
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Step:
    """What came of a step: the events of its entries in order, also those that stood before, and whether any is new.

    `late`: the run had been cancelled, so only what may come after its end was written. `stand` holds from the commit.
    """

    events: list[Event]
    new: bool
    late: bool
    stand: Stand


async def take(
    connection: AsyncConnection, run_id: str, executor: str, changes: Sequence[Change], known: Stand | None = None
) -> Step:
    """Make the changes; `known` is how the run stood after the last step of this executor.

    RunLost where `executor` does not execute the run, or it has ended otherwise than cancelled.
    """
    if known is not None and (step := await _make(connection, run_id, executor, changes, known)):
        return step
    step = await _make(connection, run_id, executor, changes, await _look(connection, run_id, executor))
    if step is None:
        raise RunLost(run_id)
    return step


async def _look(connection: AsyncConnection, run_id: str, executor: str) -> Stand:
    run = (await connection.execute(_LOOK, {"run": run_id, "me": executor})).one_or_none()
    if run is None:
        raise RunLost(run_id)
    keyed = await connection.execute(_KEYED, {"run": run_id})
    texts = await connection.execute(_TEXTS, {"run": run_id})
    return Stand(
        run.status,
        run.last_seq,
        Usage.model_validate(run.usage),
        {row.key: journal.event(row) for row in keyed},
        {row.name: row.id for row in texts},
    )


async def _make(
    connection: AsyncConnection, run_id: str, executor: str, changes: Sequence[Change], stand: Stand
) -> Step | None:
    """The step, or None if the run does not stand like that and nothing was changed."""
    now = datetime.now(UTC)
    allowed = [c for c in changes if _may_come_late(c)] if stand.status == "cancelled" else changes
    told, new = _numbered([c for c in allowed if isinstance(c, Entry)], stand, now)
    texts, passing, spent = _texts(allowed, stand)
    after = replace(
        stand,
        last_seq=stand.last_seq + len(new),
        usage=sum(spent, stand.usage),
        keyed={**stand.keyed, **{key: event for event, key in new if key is not None}},
        texts={**stand.texts, **{name: uuid.uuid4().hex for name in texts if name not in stand.texts}},
    )
    values: dict[str, Any] = {"last_seq": after.last_seq, **_shown(allowed)}
    if stand.status != "cancelled":  # what comes after the end changes nothing of when that was
        values["updated_at"] = now
    if spent:
        values["usage"] = after.usage.model_dump()
    standing = {"run": run_id, "me": executor, "was": stand.status, "last": stand.last_seq}
    changed = await connection.execute(_CHANGE_RUN, {**standing, **values})
    if not changed.rowcount:
        return None
    await journal.write(connection, run_id, new)
    await _store(connection, run_id, texts, passing, stand, after, now)
    return Step(told, new=bool(new), late=len(allowed) < len(changes), stand=after)


def _may_come_late(change: Change) -> bool:
    return isinstance(change, AFTER_THE_END) and not (isinstance(change, Kept) and change.passing)


def _numbered(
    entries: Iterable[Entry], stand: Stand, now: datetime
) -> tuple[list[Event], list[tuple[Event, str | None]]]:
    """The events of all entries, and of the new ones with their keys."""
    known = dict(stand.keyed)
    told: list[Event] = []
    new: list[tuple[Event, str | None]] = []
    for entry in entries:
        if entry.key is None or entry.key not in known:
            cause = known.get(entry.cause_key) if entry.cause_key is not None else None
            event = journal.numbered(entry, stand.last_seq + len(new) + 1, now, cause.seq if cause else None)
            new.append((event, entry.key))
            if entry.key is not None:
                known[entry.key] = event
            told.append(event)
        else:
            told.append(known[entry.key])
    return told, new


def _texts(changes: Iterable[Change], stand: Stand) -> tuple[dict[str, str], set[str], list[Usage]]:
    """The texts to keep, which of them until the end only, and what is to be added to the run's usage."""
    texts: dict[str, str] = {}
    passing: set[str] = set()
    spent: list[Usage] = []
    for change in changes:
        if isinstance(change, Kept):
            texts[change.name] = change.text
            if change.passing:
                passing.add(change.name)
        elif isinstance(change, Spent):
            # The mark of a turn that was counted is a text of the run: it is in the same transaction as the sum.
            mark = f"usage:{change.key}" if change.key is not None else None
            if mark is None or (mark not in stand.texts and mark not in texts):
                spent.append(change.usage)
            if mark is not None and mark not in stand.texts:
                texts[mark] = change.usage.model_dump_json()
    return texts, passing, spent


def _shown(changes: Iterable[Change]) -> dict[str, Any]:
    last = {_COLUMNS[type(change)]: change for change in changes if isinstance(change, Plan | Progress | Result)}
    return {column: change.model_dump(mode="json") for column, change in last.items()}


async def _store(
    connection: AsyncConnection,
    run_id: str,
    texts: Mapping[str, str],
    passing: set[str],
    before: Stand,
    after: Stand,
    now: datetime,
) -> None:
    old = [{"artifact": before.texts[name], "text": text} for name, text in texts.items() if name in before.texts]
    new = [
        {
            "id": after.texts[name],
            "run_id": run_id,
            "name": name,
            "text": text,
            "passing": name in passing,
            "created_at": now,
        }
        for name, text in texts.items()
        if name not in before.texts
    ]
    if old:
        await connection.execute(_REPLACE_TEXT, old)
    if new:
        await connection.execute(_ADD_TEXT, new)
