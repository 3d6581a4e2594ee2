"""What runs ask their callers: put once, answered once, in the transaction of the change that it makes in the run.

Several questions of a run may be open at once; callers see and answer the oldest. A run that waits holds no slot and
has no executor, so that no process need live; the answer to its last open question makes it an orphan at work, which
the first process that can takes up. At the deadline the question's safe answer is taken, by whichever process is first.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, insert, select, update

from atlas_mcp.errors import IllegalChange, RunLost, UnknownRun
from atlas_mcp.model.question import Question, fitting
from atlas_mcp.model.run import ENDED
from atlas_mcp.runs import rows, steps
from atlas_mcp.runs.changes import Entry
from atlas_mcp.runs.rows import traces
from atlas_mcp.runs.trace import current_trace
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.question import Asking
    from atlas_mcp.runs.rows import RunRow

_QUESTION = tables.question
_BY_KEY = select(_QUESTION).where(_QUESTION.c.run_id == bindparam("run"), _QUESTION.c.key == bindparam("called"))
_OF_RUNS = select(_QUESTION).where(_QUESTION.c.run_id.in_(bindparam("runs", expanding=True)))
_IN_ORDER = _OF_RUNS.order_by(_QUESTION.c.asked_at, _QUESTION.c.id)
_OVERDUE = select(_QUESTION.c.run_id, _QUESTION.c.id).where(
    _QUESTION.c.answered_at.is_(None), _QUESTION.c.deadline <= bindparam("now")
)
_SHOWN = 300
ATLAS = "atlas"


@dataclass(frozen=True)
class Given:
    """What came of an answer: whether the run goes on by it, and why nothing was changed, if nothing was."""

    goes_on: bool = False
    note: str | None = None


async def put(
    connection: AsyncConnection,
    run_id: str,
    executor: str,
    asking: Asking,
    key: str,
    deadline: datetime,
    *,
    most: int | None = None,
) -> bool:
    """Put a question of a run that goes on meanwhile; False if agents have put `most` of them already.

    RunLost if `executor` does not work on the run.
    """
    asked = list(await connection.execute(_IN_ORDER, {"runs": [run_id]}))
    if any(row.key == key for row in asked):
        return True
    if most is not None and sum(row.asked_by != ATLAS for row in asked) >= most:
        return False
    entry, row = _asked(run_id, asking, key, deadline)
    step = await steps.take(connection, run_id, executor, [entry])
    if step.late:
        raise RunLost(run_id)
    await connection.execute(insert(_QUESTION), row)
    return True


async def wait(
    connection: AsyncConnection, run_id: str, executor: str, asking: Asking, key: str, deadline: datetime
) -> str | None:
    """The answer, or None: then the run waits for it from now on, and is nobody's. RunLost as for `put`."""
    run = await rows.find(connection, run_id, lock=True)
    known = await _find(connection, run_id, key)
    if known is not None and known.answer is None and run.status == "awaiting_answer":
        return None  # another question has stopped it just now
    if run.executor != executor or run.status != "working":
        raise RunLost(run_id)
    if known is not None and known.answer is not None:
        return known.answer
    if known is None:
        entry, row = _asked(run_id, asking, key, deadline)
        await connection.execute(insert(_QUESTION), row)
    else:
        entry = Entry("atlas", "run_waiting", f"Waits for an answer to {asking.asked_by}.", data={"question": known.id})
    progress = {**run.progress, "text": f"{asking.asked_by} waits for an answer"}
    # The attempt did not fail, and is not counted.
    await rows.move(
        connection, run, "awaiting_answer", entry, executor=None, attempts=run.attempts - 1, progress=progress
    )
    return None


async def open_of(connection: AsyncConnection, run_ids: Sequence[str]) -> dict[str, Question]:
    """The oldest open question of each of the runs that have one."""
    found = await connection.execute(_IN_ORDER, {"runs": run_ids})
    first: dict[str, Question] = {}
    for row in found:
        if row.answer is None:
            first.setdefault(row.run_id, _question(row))
    return first


async def answer(
    connection: AsyncConnection, run_id: str, caller: str, text: str, *, question_id: str | None = None
) -> Given:
    """Answer the caller's run: its oldest open question, or the one of that id.

    Raises UnknownRun; IllegalChange for a run that never asked, InvalidInput for an answer that does not fit. One that
    was answered before, or has ended, is left as it is.
    """
    run = await rows.find(connection, run_id, caller, lock=True)
    asked = list(await connection.execute(_IN_ORDER, {"runs": [run_id]}))
    if question_id is not None:
        asked = [row for row in asked if row.id == question_id]
    if not asked:
        raise IllegalChange(
            f"this run asks nothing: it is {run.status}.",
            argument="run_id",
            next_step=f'Call get_run(run_id="{run_id}") to see how it stands.',
        )
    opened = [row for row in asked if row.answer is None]
    if run.status in ENDED:
        return Given(note=f"It had {run.status} before: nothing was changed.")
    if not opened:
        last = asked[-1]
        by = "the deadline" if last.answered_by == "deadline" else "a caller"
        return Given(note=f"It was answered before, by {by}, with {last.answer[:_SHOWN]!r}: nothing was changed.")
    given = fitting(_question(opened[0]), text)
    entry = Entry("caller", "question_answered", f"The answer: {given[:_SHOWN]}", data={"question": opened[0].id})
    return await _close(connection, run, opened[0].id, given, "caller", entry, trace_ids=traces(run, current_trace()))


async def overdue(connection: AsyncConnection) -> list[tuple[str, str]]:
    """The open questions whose deadline has passed: ids of runs and of questions."""
    found = await connection.execute(_OVERDUE, {"now": datetime.now(UTC)})
    return [(row.run_id, row.id) for row in found]


async def expire(connection: AsyncConnection, run_id: str, question_id: str) -> bool:
    """Take the safe answer to an overdue question, if it is still open: whether the run goes on by it."""
    try:
        run = await rows.find(connection, run_id, lock=True)
    except UnknownRun:
        return False
    row = (await connection.execute(select(_QUESTION).where(_QUESTION.c.id == question_id))).one_or_none()
    if row is None or row.answer is not None:
        return False
    if run.status in ENDED:
        await _mark(connection, question_id, row.safe, "end")
        return False
    text = f"Nobody answered until {row.deadline:%Y-%m-%d %H:%M} UTC, so the safe answer is taken: {row.safe[:_SHOWN]}"
    entry = Entry("atlas", "question_expired", text, data={"question": question_id})
    return (await _close(connection, run, question_id, row.safe, "deadline", entry)).goes_on


async def _close(
    connection: AsyncConnection, run: RunRow, question_id: str, text: str, by: str, entry: Entry, **values: Any
) -> Given:
    if not await _mark(connection, question_id, text, by):
        return Given(note="It was answered before: nothing was changed.")
    goes_on = run.status == "awaiting_answer" and run.id not in await open_of(connection, [run.id])
    kept = values if goes_on else {**values, "progress": run.progress}
    await rows.move(connection, run, "working" if goes_on else run.status, entry, **kept)
    return Given(goes_on=goes_on)


async def _mark(connection: AsyncConnection, question_id: str, text: str, by: str) -> bool:
    done = await connection.execute(
        update(_QUESTION)
        .where(_QUESTION.c.id == question_id, _QUESTION.c.answered_at.is_(None))
        .values(answer=text, answered_by=by, answered_at=datetime.now(UTC))
    )
    return bool(done.rowcount)


async def _find(connection: AsyncConnection, run_id: str, key: str) -> RunRow | None:
    return (await connection.execute(_BY_KEY, {"run": run_id, "called": key})).one_or_none()


def _asked(run_id: str, asking: Asking, key: str, deadline: datetime) -> tuple[Entry, dict[str, Any]]:
    """A new question, as the event that tells it and as its row."""
    question_id = f"q_{uuid.uuid4().hex[:16]}"
    entry = Entry(
        asking.asked_by, "question_asked", f"{asking.asked_by} asks: {asking.text}", data={"question": question_id}
    )
    row = {
        **asking.model_dump(mode="json"),
        "id": question_id,
        "run_id": run_id,
        "key": key,
        "asked_at": datetime.now(UTC),
        "deadline": deadline,
    }
    return entry, row


def _question(row: RunRow) -> Question:
    return Question(
        id=row.id,
        asked_by=row.asked_by,
        kind=row.kind,
        text=row.text,
        options=tuple(row.options),
        words=row.words,
        safe=row.safe,
        deadline=row.deadline,
    )
