"""`atlas-mcp letta`: the embedded Letta by itself, for any program that uses letta-client."""

from __future__ import annotations

from typing import Annotated

import typer

PORT = 8283


def letta(
    host: Annotated[str, typer.Option(help="A loopback address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = PORT,
    allow_tools: Annotated[
        bool, typer.Option("--allow-tools", help="Let clients upload tool source, which then runs on this machine.")
    ] = False,
) -> None:
    """Serve the embedded Letta's REST API on this machine, with a key of its own."""
    import anyio

    from atlas_mcp.server.loop import loop_options

    anyio.run(_serve, host, port, allow_tools, backend_options=loop_options())


async def _serve(host: str, port: int, allow_tools: bool) -> None:  # anyio.run passes by position
    from rich.console import Console

    from atlas_mcp.atlas import letta_app
    from atlas_mcp.server.http import listen, serve_app
    from atlas_mcp.server.logs import log_to_stderr
    from atlas_mcp.settings import load_settings

    settings = load_settings()
    log_to_stderr()
    with listen(host, port) as listener:
        real_port = listener.getsockname()[1]
        app = letta_app(settings, allow_tools=allow_tools, port=real_port)
        console = Console(stderr=True, highlight=False, soft_wrap=True)
        console.print(f"[bold]Letta[/] (embedded) serves [cyan]http://{host}:{real_port}[/]")
        console.print(f"letta-client sends the key in {settings.home / 'keys' / 'letta'}")
        await serve_app(app, listener)
