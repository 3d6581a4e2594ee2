"""What the reader of a result should know of how it came about: who rated, and what the sources tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp.model.orders import orders

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from atlas_mcp.model.task import Material
    from atlas_mcp.teamwork.job import Job

OFFLINE = "atlas:"
"""How the name of the offline model begins, which likes nothing: it measures."""

IN_A_THREAD = 50_000
"""Characters of materials from which they are gone through in a thread: as many take ten milliseconds."""


async def notes(job: Job, models: Mapping[str, str], rated: Collection[str]) -> list[str]:
    """The notes on a result that these raters rated; `models` says who wrote and who rated with which."""
    return [*_one_model(models, rated), *await _orders(job)]


async def warnings(job: Job) -> dict[str, list[str]]:
    """The sentences of each material that speak to agents instead of informing them. Looked for once in a process."""
    if job.orders is None:
        materials = job.task.materials
        long = sum(len(m.text) for m in materials) > IN_A_THREAD
        job.orders = await anyio.to_thread.run_sync(_look, materials) if long else _look(materials)
    return job.orders


def _look(materials: Sequence[Material]) -> dict[str, list[str]]:
    return {m.name: found for m in materials if (found := orders(m.text))}


async def _orders(job: Job) -> list[str]:
    return [
        f"The material {name!r} gives its reader orders; they were treated as data: "
        + ", ".join(f"“{sentence}”" for sentence in found)
        for name, found in (await warnings(job)).items()
    ]


def _one_model(models: Mapping[str, str], rated: Collection[str]) -> list[str]:
    wrote = {model for who, model in models.items() if who.startswith("writer/") and not model.startswith(OFFLINE)}
    both = sorted(wrote & {models[f"rater/{name}"] for name in rated if f"rater/{name}" in models})
    if not both:
        return []
    return [
        f"Writers and raters answered with the same model ({', '.join(both)}), which tends to like its own texts: set "
        "another for raters, with ATLAS_MODEL_RATER."
    ]
