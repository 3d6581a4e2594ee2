"""`atlas-mcp doctor`: every part and Letta is looked at; for what is not well, the setting or command that mends it.

Hosts' entries are started, as their hosts do. Models are called only when that is asked for: it costs something. It
runs also where nothing else does: a setting, a key or a file that keeps ATLAS from opening is told like the rest.
"""

from __future__ import annotations

import platform
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.errors import AtlasError
from atlas_mcp.model.status import Room

if TYPE_CHECKING:
    from atlas_mcp.model.server import ServerInfo
    from atlas_mcp.model.status import Status
    from atlas_mcp.settings import Settings


def doctor(
    call_model: Annotated[
        bool, typer.Option("--call-model", help="Ask each model one small question; say what it took and cost.")
    ] = False,
) -> None:
    """Look at every part, and say what mends what is not well. Exit code 1 when something is failing."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.server_pages import checks_page, server_page

    checks, servers = anyio.run(_examine, call_model)
    console = Console()
    console.print(checks_page(checks))
    for server in servers:
        console.print(server_page(server))
    if any(check.health == "failing" for check in checks):
        raise typer.Exit(1)


async def _examine(call_model: bool) -> tuple[list[Room], list[ServerInfo]]:  # anyio.run passes by position
    """What was looked at, in order, and the Lettas; also where something keeps ATLAS from opening."""
    from atlas_mcp.checkup import call_models, home_checks
    from atlas_mcp.cli.doctor_hosts import host_checks
    from atlas_mcp.settings import load_settings

    checks, servers = [_python()], []
    try:
        settings = load_settings()
    except AtlasError as error:
        return [*checks, _failing("settings", error), *await host_checks()], []
    checks.append(Room(name="settings", health="ok", text=f"Home folder {settings.home}."))
    try:
        checks += home_checks(settings)
        if checks[-1].name != "home" or checks[-1].health != "failing":
            status, servers = await _look(settings)
            checks += [*status.rooms, *(Room(name="note", health="warning", text=note) for note in status.notes)]
            checks += await call_models(settings) if call_model else []
    except AtlasError as error:
        checks.append(_failing("opening", error))
    return [*checks, *await host_checks()], servers


def _python() -> Room:
    return Room(name="python", health="ok", text=f"Python {platform.python_version()} at {sys.executable}.")


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
