"""`atlas-mcp doctor`: every part and every Letta looked at, and for what is not well the setting or command that mends.

It runs also where nothing else does: a setting, a key or a file that keeps ATLAS from opening is told like the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from atlas_mcp.errors import AtlasError
from atlas_mcp.model.status import Room

if TYPE_CHECKING:
    from atlas_mcp.model.server import ServerInfo
    from atlas_mcp.model.status import Status
    from atlas_mcp.settings import Settings


def doctor() -> None:
    """Look at every part, and say what to do about what is not well. Exit code 1 when something is failing."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.server_pages import checks_page, server_page

    checks, servers = anyio.run(_examine)
    console = Console()
    console.print(checks_page(checks))
    for server in servers:
        console.print(server_page(server))
    if any(check.health == "failing" for check in checks):
        raise typer.Exit(1)


async def _examine() -> tuple[list[Room], list[ServerInfo]]:
    """What was looked at, in order, and the Lettas; it ends with the first thing that keeps ATLAS from opening."""
    from atlas_mcp.settings import load_settings

    try:
        settings = load_settings()
    except AtlasError as error:
        return [_failing("settings", error)], []
    checks = [Room(name="settings", health="ok", text=f"Home folder {settings.home}.")]
    try:
        status, servers = await _look(settings)
    except AtlasError as error:
        return [*checks, _failing("opening", error)], []
    notes = [Room(name="note", health="warning", text=note) for note in status.notes]
    return [*checks, *status.rooms, *notes], servers


async def _look(settings: Settings) -> tuple[Status, list[ServerInfo]]:
    from atlas_mcp.atlas import open_atlas

    async with open_atlas(settings) as atlas:
        caller = atlas.local_caller("atlas-mcp doctor")
        status = await atlas.status(caller)
        if any(room.health == "failing" and room.name in {"record", "runs"} for room in status.rooms):
            return status, []
        servers = await atlas.servers()
        return await atlas.status(caller), servers  # again: with the record open it knows more


def _failing(name: str, error: AtlasError) -> Room:
    text = f"{error.argument}: {error.message}" if error.argument else error.message
    return Room(name=name, health="failing", text=text, next_step=error.next_step)
