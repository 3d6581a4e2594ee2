"""The door: one message to a group, from what the caller said to what the group answers, as the executor of a run.

One message at a time in each conversation: others wait, across processes. What was said is in the record as soon as it
is said. After a crash the talk goes on where it stood; finished turns are not repeated. A group of
which nobody could answer fails with what the last of them failed with.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.constellation.names import group_lock
from atlas_mcp.errors import AtlasError
from atlas_mcp.memory.condensing import Summaries
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.group import GroupSpec, Said, Sleeptime, Stop
from atlas_mcp.runs.changes import Entry, Kept
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.teamwork.groups import background, rows
from atlas_mcp.teamwork.groups.job import GroupJob
from atlas_mcp.teamwork.groups.meeting import open_meeting
from atlas_mcp.teamwork.own_task import in_own_task
from atlas_mcp.watch.spans import in_session, outputs, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record
    from atlas_mcp.teamwork.groups.meeting import Meeting

    Submit = Callable[["GroupOrder"], Awaitable[str]]

OUTCOME = "group"
"""The artifact in which a run keeps what it came to."""


class GroupOrder(Frozen):
    """What a run of kind `group` is asked: the group as it was then, and the caller's message; or, with `tend`, up to
    which message its background agents are to read."""

    group: GroupSpec
    conversation: str
    client: str
    message: str = ""
    tend: int = 0


class GroupOutcome(Frozen):
    """What a run of a group came to. Those of earlier versions do not say in which conversation."""

    group: str = ""
    conversation: str = ""
    messages: list[Said]
    stopped: Stop | None = None
    background_runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class House:
    """What a group needs of the rooms around it."""

    agents: Constellation
    record: Record
    locks: Locks
    submit: Submit
    summaries_by_model: bool = False
    guard: Leaving | None = None


async def run_group(run: RunContext, order: GroupOrder, house: House) -> RunOutcome:
    """Do it, or go on with it where an earlier process left it; the constellation is not moved meanwhile."""
    async with house.agents.visit():
        return await _run(run, order, house)


async def _run(run: RunContext, order: GroupOrder, house: House) -> RunOutcome:
    group = order.group
    if order.tend:
        async with house.locks.hold(f"tend-{order.conversation}"):
            meeting = await open_meeting(house.record, order.conversation, run.run_id, house.agents.server)
            return await background.tend(_job(run, order, house, meeting), order.tend)
    marks = {"atlas.run": run.run_id, "atlas.group": group.name, "session.id": order.conversation}
    with in_session(order.conversation), span(f"group {group.name}", "WORKFLOW", order.message, **marks) as opened:
        async with house.locks.hold(group_lock(order.conversation)):
            outcome = await _talked(run, order, house)
        outputs(opened, outcome)
    said = "\n\n".join(f"{m.speaker}: {m.text}" for m in outcome.messages)
    note = f"It was stopped early ({outcome.stopped.pattern}): {outcome.stopped.reason}" if outcome.stopped else None
    return RunOutcome(reply=said, note=note)


async def _talked(run: RunContext, order: GroupOrder, house: House) -> GroupOutcome:
    if known := await run.load(OUTCOME):
        return GroupOutcome.model_validate_json(known)
    await house.agents.group_copies.show(order.group)
    meeting = await open_meeting(house.record, order.conversation, run.run_id, house.agents.server)
    job = _job(run, order, house, meeting)
    stop = await in_own_task(_graph(job))
    if job.spent:
        stop = Stop(pattern="budget", reason=str(job.spent))
    async with house.record.read() as db:
        messages = [m for m in await rows.of_run(db, run.run_id) if m.source != "caller"]
    if not any(m.source == "agent" for m in messages):
        raise job.failures[-1] if job.failures else AtlasError("nobody in the group answered.")
    runs = await _background(run, order, house, meeting.messages)
    outcome = GroupOutcome(
        group=order.group.name,
        conversation=order.conversation,
        messages=messages,
        stopped=stop,
        background_runs=tuple(runs),
    )
    changes: list[Any] = [Kept(OUTCOME, outcome.model_dump_json())]
    if stop:
        text = f"stopped ({stop.pattern}): {stop.reason}"
        changes.append(Entry("atlas", "talk_stopped", text, data=stop.model_dump(), key="stopped"))
    await run.write(*changes)
    return outcome


def _job(run: RunContext, order: GroupOrder, house: House, meeting: Meeting) -> GroupJob:
    summaries = Summaries(run.caller, house.record)
    return GroupJob(
        run,
        house.agents,
        order.group,
        meeting,
        order.message,
        summaries,
        by_model=house.summaries_by_model,
        guard=house.guard,
    )


async def _graph(job: GroupJob) -> Stop | None:
    # Building the graph imports LangGraph, which takes a third of a second: in a thread, so that nobody else waits.
    graph, steps = await anyio.to_thread.run_sync(_built, job.group.manager.type)
    came_to = await graph.ainvoke({"turns": 0}, {"recursion_limit": steps}, context=job)
    stop = came_to.get("stop")
    return Stop.model_validate(stop) if stop else None


async def _background(run: RunContext, order: GroupOrder, house: House, messages: list[Said]) -> list[str]:
    """Have the background agents read along, if it is time; the ids of the runs in which they do."""
    manager = order.group.manager
    if not isinstance(manager, Sleeptime):
        return []
    async with house.record.read() as db:
        number, since = await rows.tended(db, order.conversation)
    last = messages[-1].number
    if not background.due(manager, [m for m in messages if m.number > number], since, datetime.now(UTC)):
        return []
    run_id = await house.submit(order.model_copy(update={"message": "", "tend": last}))
    async with house.record.write() as db:
        await rows.set_tended(db, order.conversation, last)
    await run.write(Entry("atlas", "background_started", f"run {run_id} tends the memory", key="background"))
    return [run_id]


def _built(manager: Any) -> tuple[Any, int]:
    from atlas_mcp.teamwork.groups.graph import STEPS, build

    return build(manager), STEPS
