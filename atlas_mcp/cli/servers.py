"""`atlas-mcp servers`: the Lettas that constellations live on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from atlas_mcp.model.server import ServerInfo

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


async def _servers() -> list[ServerInfo]:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.settings import load_settings

    async with open_atlas(load_settings()) as atlas:
        return await atlas.servers()
