"""`atlas-mcp status`: what works and what does not, for a person."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from atlas_mcp.model.status import Status


def status() -> None:
    """Show what works and what does not. Exit code 1 when something is failing."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.pages import status_page

    found = anyio.run(_status)
    Console().print(status_page(found))
    if not found.ok:
        raise typer.Exit(1)


async def _status() -> Status:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        return await atlas.status(atlas.local_caller("atlas-mcp status"))
