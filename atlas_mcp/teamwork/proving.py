"""What agents cite, looked up in what the run has: its materials, and what its agents were given from outside.

Promise: a source that nobody handed in or fetched in this run proves nothing, and neither do words that do not stand in
it as it was given. Where only materials are cited the record is not asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp.model.result import Cited, Evidence, Missing, Verified
from atlas_mcp.reach.sources import Source, plain
from atlas_mcp.teamwork.checks import IN_A_THREAD, Text, look_up, refusal, verify_all

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.task import Material
    from atlas_mcp.teamwork.contract import Given
    from atlas_mcp.teamwork.job import Job


async def prove(job: Job, agent: str, evidence: Sequence[Evidence]) -> tuple[list[Evidence], list[Missing]]:
    """The evidence that holds, with each quote in its source's own words, and what `agent` claimed and does not."""
    texts = await texts_for(evidence, job.task.materials, job.agents.sources, job.run.run_id)
    return await verify_all(agent, evidence, texts)


async def certify(job: Job, evidence: Sequence[Evidence]) -> tuple[list[Cited], list[Missing]]:
    """The same for a result, once more: each with what it was found in, and what is not to be found any more."""
    texts = await texts_for(evidence, job.task.materials, job.agents.sources, job.run.run_id)
    if len(evidence) * sum(len(one.text) for one in texts) < IN_A_THREAD:
        return _certify(evidence, texts)
    return await anyio.to_thread.run_sync(_certify, evidence, texts)


async def texts_for(
    evidence: Sequence[Evidence], materials: Sequence[Material], given: Given, run_id: str
) -> list[Text]:
    """The texts in which this evidence must be found: the materials, and what else of the run it names."""
    known = {plain(one.name) for one in materials}
    others = [one.source for one in evidence if plain(one.source) not in known]
    return [*materials, *(await given.named(run_id, others) if others else [])]


def _certify(evidence: Sequence[Evidence], texts: Sequence[Text]) -> tuple[list[Cited], list[Missing]]:
    held: list[Cited] = []
    lost: list[Missing] = []
    for item in evidence:
        found, why = look_up(item, texts)
        if found is None:
            lost.append(refusal("atlas", item, why))
            continue
        where = (
            Verified(kind="source", title=found[0].title, fetched_at=found[0].at)
            if isinstance(found[0], Source)
            else Verified(kind="material")
        )
        held.append(Cited(claim=item.claim, source=found[0].name, quote=found[1], verified=where))
    return held, lost
