"""`atlas-mcp servers`: the Lettas that constellations live on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from atlas_mcp.model.portable import Carried, Moved
    from atlas_mcp.model.server import ServerInfo

WAIT_SECONDS = 600.0
servers = typer.Typer(
    name="servers", help="The Lettas that constellations live on.", no_args_is_help=True, add_completion=False
)


@servers.command("list")
def list_servers() -> None:
    """Show each Letta: whether it can be used, and how many constellations it has. Exit code 1 when one cannot."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.server_pages import servers_page

    found = anyio.run(_servers)
    Console().print(servers_page(found))
    if any(server.problem for server in found):
        raise typer.Exit(1)


@servers.command()
def move(
    to: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The Letta to move to.")] = None,
    source: Annotated[
        str | None,
        typer.Option("--from", help="Bring over what is left on this Letta, as from before another was set."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Put it in the place of agents that are there, which are exported first.")
    ] = False,
    wait: Annotated[float, typer.Option(help="How many seconds to wait for turns and runs to end.")] = WAIT_SECONDS,
) -> None:
    """Move your constellation to another Letta: agents, memory with its history, archives."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.portable import carried_text

    if to is None and source is None:
        raise InvalidInput("where to is missing.", argument="NAME", next_step="atlas-mcp servers list shows the names.")
    carried = anyio.run(_move, to, source, replace, wait)
    console = Console(highlight=False, soft_wrap=True)
    console.print(" ".join(carried.notes) or f"Moved: {carried_text(carried)}.")
    if carried.backup:
        console.print(f"What was there is in [cyan]{carried.backup}[/]")


@servers.command()
def drain(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The Letta that all constellations are to leave.")],
    wait: Annotated[float, typer.Option(help="How many seconds to wait for turns and runs to end.")] = WAIT_SECONDS,
) -> None:
    """Move every constellation away from a Letta. Exit code 1 when one is still there; repeat it then."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.portable import carried_text

    console = Console(highlight=False, soft_wrap=True)
    moved = anyio.run(_drain, name, wait)
    for each in moved:
        told = f"still there: {each.problem}" if each.problem else f"moved to {each.to}: {carried_text(each.carried)}"
        console.print(f"{each.caller}  {told}", style="red" if each.problem else "")
    if any(each.problem for each in moved):
        raise typer.Exit(1)
    console.print(f"No constellation is on {name}. So that no new one comes, give it weight = 0 in settings.toml.")


async def _move(to: str | None, source: str | None, replace: bool, wait: float) -> Carried:  # run passes by position
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller("atlas-mcp servers")
        return await atlas.portable.move(me, to, source=source, replace=replace, wait_seconds=wait)


async def _drain(name: str, wait: float) -> list[Moved]:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        return await atlas.portable.drain(name, wait_seconds=wait)


async def _servers() -> list[ServerInfo]:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        return await atlas.servers()
