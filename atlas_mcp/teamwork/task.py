"""The door: one team task from its goal to its rated result, as the executor of a run.

What is finished is never done again: the run keeps what each node came to, and a turn has a key by which the
constellation gives its result again after a crash. Cancellation reaches every worker at once. A result that lacks
something says what and why; a run that produced nothing fails with the reasons. Of the best there was so far the run is
told after each step, so that nothing is lost when it is cancelled.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.errors import AtlasError, RunLost, Waiting
from atlas_mcp.model.result import Result
from atlas_mcp.model.task import DEFAULT_CRITERIA, TeamTask
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.teamwork.ephemeral import dismiss
from atlas_mcp.teamwork.job import RESULT, Job
from atlas_mcp.teamwork.own_task import in_own_task
from atlas_mcp.teamwork.planning import count
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.teamwork.contract import Agents, Journal


async def run_team_task(run: Journal, agents: Agents, task: TeamTask, guard: Leaving | None = None) -> RunOutcome:
    """Do the task, or go on with it where an earlier process left it.

    Raises what kept it from any result: ConfigurationError when no team can work, what the global supervisor failed
    with (UnusableAnswer, ModelFailed, ...) when there is no plan, Unavailable when no part was done, and BudgetSpent
    when it was a budget that kept it from any.
    """
    task = task if task.criteria else task.model_copy(update={"criteria": DEFAULT_CRITERIA})
    with span("team_task", kind="WORKFLOW", inputs={"goal": task.goal}, run_id=run.run_id) as opened:
        result = await _company(Job(run, agents, task, guard=guard))
        outputs(opened, result)
    notes = ["A budget ended it early: see result.stopped."] if result.stopped else []
    notes += [f"{count(len(result.missing), 'thing')} missing: see result.missing."] if result.missing else []
    return RunOutcome(result=result, note=" ".join(notes) or None)


async def _company(job: Job) -> Result:
    """Do the work, and send away those who were there for it alone; they stay while the run is to go on."""
    ended = False  # cancelled it may have ended too: then that is looked up
    try:
        result = await in_own_task(_work(job))
        ended = True
    except AtlasError as error:
        ended = not isinstance(error, RunLost | Waiting)
        raise
    else:
        return result
    finally:
        await dismiss(job, ended=ended)


async def _work(job: Job) -> Result:
    levels = job.agents.roster.levels
    if levels not in _built:
        # This imports LangGraph, which takes a third of a second: in a thread, so that nobody else waits.
        _built[levels] = await anyio.to_thread.run_sync(_graph, levels)
    graph, steps = _built[levels]
    # Its end state is of no use to anybody: a mode that streams nothing saves making it in every step.
    limit = {"recursion_limit": steps(job.task.max_rounds)}
    await graph.ainvoke({"turns": {}}, limit, context=job, stream_mode="checkpoints")
    return Result.model_validate_json(await job.text(RESULT))


_built: dict[int, tuple[Any, Any]] = {}
"""The graph for teams that stand in each other so deep, and how many steps it may take."""


def _graph(levels: int) -> tuple[Any, Any]:
    from atlas_mcp.teamwork.graph import build, steps

    return build(levels), steps
