"""Runs as callers see them, and the cursor that lists of them go on from."""

from __future__ import annotations

import base64
import binascii
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.budget import Budget
from atlas_mcp.model.plan import Plan
from atlas_mcp.model.question import Question, what_fits
from atlas_mcp.model.result import Result
from atlas_mcp.model.run import ENDED, Event, Progress, Run
from atlas_mcp.model.usage import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.runs.rows import RunRow


def next_call(run_id: str) -> str:
    """What to do with the handle of a run that is not ended, in words."""
    return f'It goes on without this call; to follow it, call get_run(run_id="{run_id}").'


def answer_call(run_id: str, question: Question) -> str:
    """How to answer a question, in words."""
    call = f'It asks a question: to answer, call answer_run(run_id="{run_id}", answer="...").'
    safe = f"If nobody answers until {question.deadline:%Y-%m-%d %H:%M} UTC, the answer is: {question.safe}"
    return f"{call} What fits: {what_fits(question)}. {safe}"


def waiting_for(providers: Sequence[str]) -> str:
    """Why a run does not go on here, in words."""
    names = " and ".join(repr(p) for p in providers)
    return f"It waits: it needs a key for {names}, and no running atlas-mcp that could do it has one."


def shown(
    row: RunRow, events: Sequence[Event] = (), question: Question | None = None, *, note: str | None = None
) -> Run:
    """The run in that row; `note` goes before what the run itself has to say."""
    own = row.note if row.status in ENDED else next_call(row.id)
    if question is not None:
        asks = answer_call(row.id, question)
        own = asks if row.status == "awaiting_answer" else f"{asks} {own}"
    return Run(
        run_id=row.id,
        kind=row.kind,
        status=row.status,
        goal=row.goal,
        plan=Plan.model_validate(row.plan) if row.plan else None,
        progress=Progress.model_validate(row.progress),
        events=[*events],
        question=question,
        result=Result.model_validate(row.result) if row.result else None,
        reply=row.reply,
        usage=Usage.model_validate(row.usage),
        budget=_budget(row),
        error=row.error,
        trace_id=row.trace_id,
        trace_ids=[*(row.trace_ids or filter(None, [row.trace_id]))],
        created_at=row.created_at,
        updated_at=row.updated_at,
        note=" ".join(part for part in (note, own) if part) or None,
    )


def _budget(row: RunRow) -> Budget | None:
    given: dict[str, Any] = row.budget or {}
    return Budget.model_validate(given) if any(limit is not None for limit in given.values()) else None


def cursor_after(row: RunRow) -> str:
    """Where a list goes on after that run; opaque to callers."""
    return base64.urlsafe_b64encode(json.dumps([row.created_at.isoformat(), row.id]).encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> tuple[datetime, str]:
    """The moment and id that `cursor_after` wrote; InvalidInput for anything else."""
    try:
        at, run_id = json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), b"-_", validate=True))
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not isinstance(run_id, str):
            raise ValueError("not a moment and an id")
    except (ValueError, TypeError, binascii.Error) as error:
        raise InvalidInput(
            f"{cursor!r} is not a cursor of list_runs.",
            argument="cursor",
            next_step="Pass next_cursor as it was given, or leave it out for the newest.",
        ) from error
    return moment, run_id
