"""`atlas-mcp export` and `atlas-mcp import`: a whole constellation, or one agent, as a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from atlas_mcp.model.portable import Carried

AGENT_FILE = ".af"
_File = Annotated[Path, typer.Argument(metavar="FILE", help="A file of ATLAS, or with the ending .af one of Letta's.")]


def export(
    file: _File,
    agent: Annotated[str | None, typer.Option(help="For a file ending in .af: which agent.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that is there.")] = False,
) -> None:
    """Write your whole constellation to a file; or one agent to a file of Letta's (.af)."""
    import anyio

    if file.exists() and not force:
        raise InvalidInput(f"{file} is there already.", argument="FILE", next_step="Choose another name, or --force.")
    if (file.suffix == AGENT_FILE) != (agent is not None):
        raise InvalidInput(
            "a file ending in .af holds one agent, any other the whole constellation.",
            argument="--agent",
            next_step="For one agent: atlas-mcp export NAME.af --agent NAME",
        )
    _tell("Exported", file, anyio.run(_export, file, agent))


def import_(
    file: _File,
    agent: Annotated[str | None, typer.Option(help="For a file ending in .af: what the agent is to be called.")] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of what is here, which is exported first.")
    ] = False,
    allow_tools: Annotated[
        bool, typer.Option("--allow-tools", help="Also take source of tools, which then runs on this machine.")
    ] = False,
) -> None:
    """Bring a constellation from a file, whole or not at all; or one agent from a file of Letta's (.af)."""
    import anyio

    if file.suffix != AGENT_FILE and agent is not None:
        raise InvalidInput("only a file ending in .af holds a single agent.", argument="--agent")
    _tell("Imported", file, anyio.run(_import, file, agent, replace, allow_tools))


async def _export(file: Path, agent: str | None) -> Carried:  # anyio.run passes by position
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller("atlas-mcp export")
        async with atlas.audit.command(me, "export", file.name):
            if agent is not None:
                return await atlas.portable.export_agent(me, agent, file)
            return await atlas.portable.export(me, file)


async def _import(file: Path, agent: str | None, replace: bool, allow_tools: bool) -> Carried:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller("atlas-mcp import")
        async with atlas.audit.command(me, "import", f"{file.name}{' replace' * replace}"):
            if file.suffix == AGENT_FILE:
                return await atlas.portable.import_agent(me, file, name=agent, replace=replace)
            return await atlas.portable.import_(me, file, replace=replace, allow_tools=allow_tools)


def _tell(done: str, file: Path, carried: Carried) -> None:
    from rich.console import Console

    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{done} [cyan]{file}[/]: {carried_text(carried)}")
    if carried.backup:
        console.print(f"What was here is in [cyan]{carried.backup}[/]")
    for note in carried.notes:
        console.print(note)


def carried_text(carried: Carried) -> str:
    """How much was carried, in words."""
    counts = {
        "agents": carried.agents,
        "memory blocks": carried.blocks,
        "revisions": carried.revisions,
        "archived texts": carried.passages,
        "turns": carried.turns,
        "runs": carried.runs,
        "documents": carried.documents,
        "tools": carried.tools,
    }
    return ", ".join(f"{count:,} {what}" for what, count in counts.items() if count) or "nothing yet"
