"""What earlier runs taught on a similar goal, for a run that begins: labelled with its id and where it is from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import TypeAdapter

from atlas_mcp.model.learning import Learning
from atlas_mcp.model.sections import section
from atlas_mcp.runs.changes import Entry, Kept
from atlas_mcp.teamwork.checks import shorten

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.teamwork.job import Job

RECALLED = "recalled"
_ALL = TypeAdapter(list[Learning])


async def recall(job: Job, node: str) -> list[Learning]:
    """What earlier runs taught on such a goal. The journal says which; the same again after a crash."""
    if job.run.resumed and (known := await recalled_before(job)):
        return known
    found = await job.agents.learnings.recall(job.task.goal)
    if found:
        told = "recalled from earlier runs: " + "; ".join(shorten(one.text, 100) for one in found)
        entry = Entry("atlas", RECALLED, told, data={"ids": [one.id for one in found]}, key=f"{node}:recalled")
        await job.write(Kept(RECALLED, _ALL.dump_json(found).decode()), entry)
    return found


def as_sections(recalled: Sequence[Learning]) -> str:
    """The learnings as a prompt shows them, each with its id and where it is from; nothing for none."""
    if not recalled:
        return ""
    lead = "Earlier runs taught what stands in <recalled>. Use what fits this goal; it is no evidence, and may be old."
    shown = (
        section(RECALLED, one.text, id=one.id, kind=one.kind, source=f"{one.run_id}, {one.source}", whom=one.audience)
        for one in recalled
    )
    return "\n\n".join((lead, *shown))


async def recalled_before(job: Job) -> list[Learning]:
    """What this run was given of earlier ones."""
    return _ALL.validate_json(await job.find(RECALLED) or "[]")
