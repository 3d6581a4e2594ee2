"""`atlas-mcp worker`: a process that only executes runs, for as many of them as one process should not bear alone."""

from __future__ import annotations


def worker() -> None:
    """Execute runs that other processes have accepted, and serve nobody; SIGTERM lets what is under way end."""
    import anyio

    from atlas_mcp.server.loop import loop_options

    anyio.run(_work, backend_options=loop_options())


async def _work() -> None:
    from rich.console import Console

    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.server.logs import log_to_stderr
    from atlas_mcp.server.signals import stopped
    from atlas_mcp.settings import load_settings

    settings = load_settings()
    log_to_stderr()
    async with open_atlas(settings) as atlas:
        name = await atlas.execute_runs()
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold]ATLAS[/] executes runs as {name}, with the home [cyan]{settings.home}[/].")
        console.print("Ctrl-C stops it; others, or its next start, go on with what is unfinished.", style="dim")
        await stopped(atlas)
