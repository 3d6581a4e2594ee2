"""Team tasks: how a run that is one is executed, within its budget, and what is noted of it when it is done."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from atlas_mcp._budgets import check_prices
from atlas_mcp._entering import check_materials, enter_materials
from atlas_mcp.errors import AtlasError, InvalidInput
from atlas_mcp.model.task import TeamTask

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.result import Output, Result
    from atlas_mcp.runs import RunOutcome
    from atlas_mcp.runs.context import RunContext

log = logging.getLogger(__name__)


def check_teams(roster: Roster, teams: Sequence[str]) -> None:
    """Raises UnknownTeam, and InvalidInput for one that gets no part of a plan: writers and raters always work, and a
    team within another gets its work from that one."""
    for name in teams:
        above = roster.above(name)
        if above or roster.team(name).kind != "work":
            able = [team.name for team in roster.teams if team.kind == "work" and not roster.above(team.name)]
            takes_part = f"gets its work from {above.name!r}" if above else "takes part in every task"
            raise InvalidInput(
                f"{name!r} {takes_part}, and is not to be chosen.",
                argument="teams",
                allowed=able,
                next_step=f"Choose among: {', '.join(able)}; or leave it out for all.",
            )


def check_task(keeper: RoomsKeeper, task: TeamTask) -> None:
    """Raises what keeps the task from being begun; see `Atlas.run_team_task`."""
    check_teams(keeper.roster, task.teams)
    check_prices(keeper, task.budget)
    check_materials(keeper, task.materials)


async def do_team_task(rooms: Rooms, run: RunContext) -> RunOutcome:
    """Execute a run that is a team task."""
    from atlas_mcp.runs.worked import seconds_worked
    from atlas_mcp.teamwork import leads
    from atlas_mcp.teamwork.task import run_team_task

    agents, task = await rooms.constellation(run.caller), TeamTask.model_validate(run.input)
    task = task.model_copy(update={"materials": await enter_materials(rooms.keeper, run, task.materials)})
    before = 0.0
    if task.budget.seconds is not None:
        async with rooms.record.read() as db:
            before = await seconds_worked(db, run.run_id)
    with rooms.ledger.account(run.run_id, task.budget, before), leads.leading(rooms.openings):
        outcome = await run_team_task(run, agents, task, rooms.keeper.guard.leaving)
    if outcome.result is not None:
        await _remember(run, agents, task.goal, outcome.result)
        files = await _saved(rooms, run)
        outcome = outcome.model_copy(update={"result": outcome.result.model_copy(update={"files": files})})
    return outcome


async def _saved(rooms: Rooms, run: RunContext) -> list[Output]:
    from atlas_mcp._outputs import keep_outputs

    try:
        return await keep_outputs(rooms, run.caller, run.run_id)
    except OSError as error:  # a full disk: the record has the texts
        log.warning("what run %s saved was not written as files: %s", run.run_id, error)
        return []


async def _remember(run: RunContext, agents: Constellation, goal: str, result: Result) -> None:
    from atlas_mcp.constellation.work_notes import note_work

    try:
        changed = await note_work(agents, run.run_id, goal, result)
    except AtlasError as error:  # the work is done: what its note met with must not take it back
        log.warning("run %s was not noted in the shared memory: %s", run.run_id, error)
        return
    if changed:
        text = f"noted for all agents in {' and '.join(changed)}"
        await run.emit("atlas", "remembered", text, key="remembered")
