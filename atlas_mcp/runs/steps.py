"""A step of a run: several changes in one transaction, all of them or none.

Only the process that executes the run can take one; for others it is RunLost and nothing is changed. Events get their
numbers in the order of the changes, without gaps. What has a key that was written before is not written again.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

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
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_RUN, _EVENT, _ARTIFACT = tables.run, tables.event, tables.artifact
_COLUMNS: dict[type[Change], str] = {Plan: "plan", Progress: "progress", Result: "result"}

# Built once: building statements costs as much as running them, and an executor with fast models writes all the time.
_LOOK = (
    select(_RUN.c.status, _RUN.c.last_seq, _RUN.c.usage, _EVENT)
    .outerjoin_from(_RUN, _EVENT, (_EVENT.c.run_id == _RUN.c.id) & _EVENT.c.key.in_(bindparam("keys", expanding=True)))
    .where(_RUN.c.id == bindparam("run"), _RUN.c.executor == bindparam("me"))
    .where(_RUN.c.status.in_(("working", "cancelled")))
    .with_for_update(of=_RUN)
)
_CHANGE_RUN = update(_RUN).where(_RUN.c.id == bindparam("run"))
_KNOWN_TEXTS = select(_ARTIFACT.c.id, _ARTIFACT.c.name).where(
    _ARTIFACT.c.run_id == bindparam("run"), _ARTIFACT.c.name.in_(bindparam("names", expanding=True))
)
_REPLACE_TEXT = update(_ARTIFACT).where(_ARTIFACT.c.id == bindparam("artifact"))
_ADD_TEXT = insert(_ARTIFACT)


@dataclass(frozen=True)
class Step:
    """What came of a step: the events of its entries in order, also those that stood before, and whether any is new.

    `late`: the run had been cancelled, so only what may come after its end was written.
    """

    events: list[Event]
    new: bool
    late: bool


async def take(connection: AsyncConnection, run_id: str, executor: str, changes: Sequence[Change]) -> Step:
    """Make the changes. RunLost where `executor` does not execute the run, or it has ended otherwise than cancelled."""
    keys = [c.key for c in changes if isinstance(c, Entry) and c.key is not None]
    found = (await connection.execute(_LOOK, {"run": run_id, "me": executor, "keys": keys})).all()
    if not found:
        raise RunLost(run_id)
    run, now = found[0], datetime.now(UTC)
    cancelled = run.status == "cancelled"
    allowed = [c for c in changes if isinstance(c, AFTER_THE_END)] if cancelled else changes
    known = {row.key: journal.event(row) for row in found if row.key is not None}
    told, new = _numbered([c for c in allowed if isinstance(c, Entry)], known, run.last_seq, now)
    spent = await _keep(connection, run_id, allowed, now)
    values: dict[str, Any] = {"run": run_id, "updated_at": now, "last_seq": run.last_seq + len(new), **_shown(allowed)}
    if spent is not None:
        values["usage"] = (Usage.model_validate(run.usage) + spent).model_dump()
    await connection.execute(_CHANGE_RUN, values)
    await journal.write(connection, run_id, new)
    return Step(told, new=bool(new), late=len(allowed) < len(changes))


def _numbered(
    entries: Iterable[Entry], known: dict[str, Event], last: int, now: datetime
) -> tuple[list[Event], list[tuple[Event, str | None]]]:
    """The events of all entries, and of the new ones with their keys."""
    told: list[Event] = []
    new: list[tuple[Event, str | None]] = []
    for entry in entries:
        if entry.key is None or entry.key not in known:
            event = journal.numbered(entry, last + len(new) + 1, now)
            new.append((event, entry.key))
            if entry.key is not None:
                known[entry.key] = event
            told.append(event)
        else:
            told.append(known[entry.key])
    return told, new


def _shown(changes: Iterable[Change]) -> dict[str, Any]:
    return {
        _COLUMNS[type(change)]: change.model_dump(mode="json")
        for change in changes
        if isinstance(change, Plan | Progress | Result)
    }


async def _keep(connection: AsyncConnection, run_id: str, changes: Iterable[Change], now: datetime) -> Usage | None:
    """Keep the texts, and give what is to be added to the run's usage."""
    texts = {c.name: c.text for c in changes if isinstance(c, Kept)}
    spent = [c for c in changes if isinstance(c, Spent)]
    # The mark of a turn that was counted is a text of the run: it is in the same transaction as the sum.
    marks = {f"usage:{c.key}": c.usage for c in spent if c.key is not None}
    total = [c.usage for c in spent if c.key is None]
    if names := [*texts, *marks]:
        rows = await connection.execute(_KNOWN_TEXTS, {"run": run_id, "names": names})
        known = cast("dict[str, str]", {row.name: row.id for row in rows})
        counted = {name: usage for name, usage in marks.items() if name not in known}
        total += counted.values()
        texts |= {name: usage.model_dump_json() for name, usage in counted.items()}
        await _store(connection, run_id, texts, known, now)
    return sum(total, Usage()) if total else None


async def _store(
    connection: AsyncConnection, run_id: str, texts: dict[str, str], known: dict[str, str], now: datetime
) -> None:
    old = [{"artifact": known[name], "text": text} for name, text in texts.items() if name in known]
    new = [
        {"id": uuid.uuid4().hex, "run_id": run_id, "name": name, "text": text, "created_at": now}
        for name, text in texts.items()
        if name not in known
    ]
    if old:
        await connection.execute(_REPLACE_TEXT, old)
    if new:
        await connection.execute(_ADD_TEXT, new)
