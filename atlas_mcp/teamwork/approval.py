"""The plan before it is carried out: what the planner asked is answered and, where the caller wants it, they approve.

Until then nothing is spent but the turns of planning. Words that say what to change have the plan made anew, at most
MAX_CHANGES times. Rejected, or not approved in time, the run fails with the reason.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import NotApproved
from atlas_mcp.model.plan import Plan
from atlas_mcp.model.question import Asking
from atlas_mcp.teamwork import modes, prompts
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.heard import heard
from atlas_mcp.teamwork.planning import count, plan_again

if TYPE_CHECKING:
    from atlas_mcp.model.budget import Budget
    from atlas_mcp.teamwork.job import Job
    from atlas_mcp.teamwork.state import State

MAX_CHANGES = 3
APPROVE, REJECT = "approve", "reject"
NOBODY = "reject: nobody approved it"
_TASK_SHOWN = 400


async def approve(job: Job, node: str, state: State) -> dict[str, Any]:
    """Have the plan completed by the answers to its planner and approved by the caller. NotApproved."""
    update: dict[str, Any] = {}
    planning = state["planning"]
    said = await heard(job, planning["asked"])
    if said:
        update = await plan_again(job, f"{node}:heard", planning["thread"], prompts.bullets(said))
    number = 0
    while job.task.approve_plan:
        changes = MAX_CHANGES - number if planning["thread"] != "new" else 0  # nobody planned what the caller set
        answer = await job.run.ask(await _asking(job, changes, again=bool(number)), key=f"{node}:approval:{number}")
        if answer == APPROVE:
            break
        if answer in (REJECT, NOBODY):
            why = "nobody approved it in time" if answer == NOBODY else "the caller rejected it"
            raise NotApproved(
                f"the plan was not carried out: {why}.", next_step="Call run_team_task again with another goal."
            )
        number += 1
        update = await plan_again(job, f"{node}:change:{number}", planning["thread"], answer)
    return {**update, "turns": job.counted(node)}


async def _asking(job: Job, changes: int, *, again: bool) -> Asking:
    plan = await job.value("plan", Plan)
    lead = "The plan, made anew" if again else "The plan"
    return Asking(
        asked_by="atlas",
        kind="approval",
        text=f"{lead}: {described(plan)}\nIt takes {_turns(plan)}.{_limits(job.task.budget)} Shall it be carried out?",
        options=(APPROVE, REJECT),
        words="what to change in the plan" if changes else "",
        safe=NOBODY,
    )


def described(plan: Plan) -> str:
    """The plan for people: a line for each part, with what it waits for, and what is not available."""
    lines = [modes.described(plan) if plan.mode == "debate" else count(len(plan.parts), "part")]
    for part in plan.parts:
        after = f" (after {', '.join(part.depends_on)})" if part.depends_on else ""
        lines.append(f"- {part.id}, by the {part.team} team{after}: {shorten(part.task, _TASK_SHOWN)}")
    lines += [f"- not available: {lack.what}: {shorten(lack.why, 200)}" for lack in plan.lacks]
    return "\n".join(lines)


def _limits(budget: Budget) -> str:
    said = [
        f"${budget.usd:,.2f}" if budget.usd is not None else "",
        f"{budget.tokens:,} tokens" if budget.tokens is not None else "",
        count(budget.turns, "turn") if budget.turns is not None else "",
        f"{budget.seconds:,.0f} seconds at work" if budget.seconds is not None else "",
    ]
    limits = ", ".join(filter(None, said))
    return f" The whole run may take at most {limits}." if limits else ""


def _turns(plan: Plan) -> str:
    if plan.mode == "debate":
        return f"{len(plan.debaters)} turns of agents for each of 2 to {plan.rounds} rounds, and two of the moderator"
    # A supervisor splits and merges each part, at least one worker works on it; writing and rating follow.
    return f"at least {3 * len(plan.parts)} turns of agents for the parts, and those of writing and rating"
