"""What a team task's agents are given of what is remembered: memories, facts and procedures, by their ids.

One search finds what has to do with the goal, and one what has to do with a part of the plan when its team begins;
nobody else searches. What was found is an artifact of the run, so that it is the same again after a crash. Each agent
is given what of it fits its own task and what it may see: a worker little, to the point; who plans, delegates or sums
up more. Raters are given nothing: they judge by the criteria and the evidence. The journal says with each turn which
items its agent was given, the trace also how many were left out. What was forgotten meanwhile is given to nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from atlas_mcp.guard.entering import Checked
from atlas_mcp.memory.context import assemble, relevance
from atlas_mcp.memory.likeness import Words
from atlas_mcp.memory.showing import TAG, as_sections
from atlas_mcp.model.context import ContextItem, Shape, Share
from atlas_mcp.model.memory_kinds import scopes_of
from atlas_mcp.runs.changes import Entry, Kept
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from atlas_mcp.teamwork.job import Job

RECALLED = TAG
"""The artifact that holds all that was found for this run, by the part that it was found for; "" is the goal."""

FULLER = Shape(
    budget=2_000,
    shares={"memories": Share(least=0.3, most=0.7), "facts": Share(least=0.2), "procedures": Share(least=0.2)},
)
FOCUSED = Shape(
    budget=800,
    shares={"memories": Share(least=0.3, most=0.6), "facts": Share(least=0.2), "procedures": Share(least=0.2)},
)
_EPISODIC = "episodic"
"""What happened in earlier runs: it helps who plans and delegates, and takes a worker's eye off its task."""
_ALL = TypeAdapter(dict[str, list[ContextItem]])


@dataclass(frozen=True)
class Given:
    """What an agent is given: as its prompt shows it, and the ids, for the journal."""

    text: str = ""
    ids: tuple[str, ...] = ()


NOTHING = Given()


async def recall(job: Job, node: str) -> list[ContextItem]:
    """What is remembered that has to do with the goal. The journal says which."""
    found = await _still_known(job, await _found(job, "", job.task.goal))
    if found:
        told = "recalled from earlier runs: " + "; ".join(shorten(one.text, 100) for one in found)
        data = {"ids": [one.id for one in found]}
        job.note(Entry("atlas", RECALLED, told, data=data, key=f"{node}:recalled"))
    return found


async def recall_for(job: Job, part: str, task: str) -> list[ContextItem]:
    """What is remembered that has to do with the part's task, and then what has to do with the goal."""
    if task != job.task.goal:
        await _found(job, part, task)
    return await recalled_for(job, part)


async def recalled_before(job: Job) -> list[ContextItem]:
    """All that this run was given of what is remembered, each once."""
    found = (one for some in (await _kept(job)).values() for one in some)
    return list({one.id: one for one in found}.values())


async def recalled_for(job: Job, part: str = "") -> list[ContextItem]:
    """What was found for that part and for the goal, and is not forgotten; nothing is searched for."""
    kept = await _kept(job)
    return await _still_known(job, [*(kept.get(part, []) if part else []), *kept.get("", [])])


def fuller(job: Job, agent: str, task: str, found: Sequence[ContextItem]) -> Given:
    """What somebody is given who plans, delegates or sums up."""
    return _given(job, agent, task, found, FULLER)


def focused(job: Job, agent: str, task: str, found: Sequence[ContextItem]) -> Given:
    """What somebody is given who does one thing: of what was found, what has to do with that."""
    asked = Words(task)
    near = [(one, relevance(asked, one.text)) for one in found if one.kind != _EPISODIC]
    fit = [one.model_copy(update={"score": near_it}) for one, near_it in near if near_it]
    return _given(job, agent, task, fit, FOCUSED)


async def _still_known(job: Job, found: Sequence[ContextItem]) -> list[ContextItem]:
    """What of it was not forgotten since it was found."""
    gone = await job.agents.remembered.forgotten([one.id for one in found]) if found else frozenset[str]()
    return [one for one in found if one.id not in gone]


def _given(job: Job, agent: str, task: str, found: Sequence[ContextItem], shape: Shape) -> Given:
    if not found:
        return NOTHING
    with span(f"context of {agent}", kind="RETRIEVER", inputs={"task": shorten(task, 300)}) as opened:
        team = next((a.team for a in job.agents.roster.agents if a.name == agent), None)
        seen = scopes_of(agent, team)
        context = assemble([one for one in found if one.scope in seen], shape)
        outputs(opened, context.told())
        hits(opened, len(context.items))
    return Given(as_sections(context), tuple(one.id for one in context.items))


async def _kept(job: Job) -> dict[str, list[ContextItem]]:
    return _ALL.validate_json(await job.find(RECALLED) or "{}")


async def _found(job: Job, part: str, text: str) -> list[ContextItem]:
    """What was found for that part, searched for once; what is forgotten by now is left out."""
    if part not in await _kept(job):
        found = await job.agents.remembered.about(text, project=job.task.project)
        if not found:
            return []
        for one in found:
            if one.findings:
                checked = Checked("memory", one.id, one.text, one.findings)
                data = {"memory": one.id, "findings": checked.data()}
                job.note(Entry("atlas", "guard_finding", checked.told(), data=data, key=f"guard:memory:{one.id}"))
        kept = await _kept(job) | {part: found}  # another part may have been searched for meanwhile
        kept = {place: await _still_known(job, items) for place, items in kept.items()}  # not to be written anew
        job.note(Kept(RECALLED, _ALL.dump_json(kept).decode()))
    return (await _kept(job))[part]
