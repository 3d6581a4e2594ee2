"""Texts of callers, rated: runs of kind `rating`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from pydantic import ValidationError

from atlas_mcp._budgets import failure_of
from atlas_mcp._entering import enter_materials
from atlas_mcp._waiting import MAX_WAIT_SECONDS, deadline_of, follow
from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.model.rating import MAX_TEXT, TEXT_CRITERIA, TextRating, TextTask
from atlas_mcp.model.run import ENDED

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp._waiting import OnNews
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Run
    from atlas_mcp.runs import RunOutcome
    from atlas_mcp.runs.context import RunContext

    OnRun = Callable[[str], None]

_SHOWN = 200


class Call(TypedDict, total=False):
    """How long a call waits, and what it hears meanwhile; see `Atlas.run_team_task`."""

    wait_seconds: float
    on_news: OnNews | None
    on_run: OnRun | None


async def rate_text(
    keeper: RoomsKeeper, caller: Caller, text: str, criteria: Sequence[str] | None, **call: Unpack[Call]
) -> TextRating:
    """See `Atlas.rate_text`."""
    return await rate(keeper, caller, _task(text, criteria), **call)


async def rate(keeper: RoomsKeeper, caller: Caller, task: TextTask, **call: Unpack[Call]) -> TextRating:
    """`rate_text`, of a text whose goal and materials the raters may be given too."""
    deadline = deadline_of(call.get("wait_seconds", MAX_WAIT_SECONDS))
    rooms = await keeper.rooms()
    goal = "Rate: " + " ".join(task.text.split())[:_SHOWN]
    needs = keeper.models.providers()
    run_id = await rooms.runs.submit(
        caller, "rating", goal, task.model_dump(mode="json"), needs=needs, on_run=call.get("on_run")
    )
    return rating_of(await follow(rooms, caller, run_id, deadline, call.get("on_news")))


def rating_of(run: Run) -> TextRating:
    """What the run came to. ModelFailed where it failed or was cancelled, BudgetSpent where the day had no room."""
    if run.status in ENDED and run.status != "completed":
        raise failure_of(run, "rating")
    told: dict[str, Any] = {"run_id": run.run_id, "usage": run.usage, "trace_id": run.trace_id, "note": run.note}
    if run.status != "completed" or run.result is None:
        return TextRating(status="working", **told)
    found = run.result
    return TextRating(
        status="completed",
        passed=found.passed,
        ratings=found.ratings,
        disagreements=found.disagreements,
        unmet=found.unmet,
        checks=found.checks,
        missing=found.missing,
        notes=found.notes,
        **told,
    )


async def do_rating(rooms: Rooms, run: RunContext) -> RunOutcome:
    """Execute a run that is the rating of a text."""
    from atlas_mcp.teamwork import leads
    from atlas_mcp.teamwork.text_rating import run_text_rating

    agents, task = await rooms.constellation(run.caller), TextTask.model_validate(run.input)
    task = task.model_copy(update={"materials": await enter_materials(rooms.keeper, run, task.materials)})
    with leads.leading(rooms.openings):
        return await run_text_rating(run, agents, task, rooms.keeper.guard.leaving)


def _task(text: str, criteria: Sequence[str] | None) -> TextTask:
    if not text.strip():
        raise InvalidInput("there is nothing to rate.", argument="text", next_step="Hand in the text itself.")
    if len(text) > MAX_TEXT:
        raise OverLimit("text", len(text), MAX_TEXT)
    try:
        return TextTask(text=text, criteria=tuple(criteria or TEXT_CRITERIA))
    except ValidationError as error:
        problem = error.errors()[0]
        place = ".".join(map(str, problem["loc"]))
        raise InvalidInput(f"{place}: {problem['msg']}.", argument="criteria") from None
