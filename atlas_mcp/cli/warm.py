"""`atlas-mcp warm`: every agent made ahead, with its progress, so that no first message has to wait for it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import typer

from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from atlas_mcp.model.agent import Warmth


def warm() -> None:
    """Create your agents ahead, and bring those that are there up to date. Exit code 1 when one of them fails."""
    import anyio

    came_to = anyio.run(_warm)
    summary = ", ".join(f"{number} {what}" for what, number in came_to.items())
    typer.echo(f"{came_to.total()} agents: {summary}.")
    if came_to["failed"]:
        raise typer.Exit(1)


async def _warm() -> Counter[str]:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    came_to: Counter[str] = Counter()

    def tell(name: str, outcome: Warmth | AtlasError) -> None:
        failed = isinstance(outcome, AtlasError)
        came_to["failed" if failed else outcome] += 1
        typer.echo(f"{name}: {outcome}", err=failed)

    async with open_atlas(load_settings()) as atlas:
        await atlas.warm(atlas.local_caller("atlas-mcp warm"), tell)
    return came_to
