"""`atlas-mcp serve`: the server, over stdio for one host or over HTTP for several."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

import typer

from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    import socket

    from atlas_mcp.server.app import Offer, Toolset

HOST, PORT = "127.0.0.1", 8765


def serve(
    http: Annotated[bool, typer.Option("--http", help="Serve HTTP instead of stdio: /mcp, /sse and /health.")] = False,
    host: Annotated[str | None, typer.Option(help=f"With --http: the address to listen on, else {HOST}.")] = None,
    port: Annotated[int | None, typer.Option(help=f"With --http: the port, else {PORT}.")] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="With --http: a name by which clients of other machines come; may be repeated."),
    ] = None,
    toolset: Annotated[
        Literal["core", "memory", "admin", "all"] | None,
        typer.Option(
            help="Which tools are offered: memory adds those for memories and facts, admin for agents. [core]"
        ),
    ] = None,
    tools: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Instead of --toolset: exactly these tools, as in list_agents,get_run."),
    ] = None,
    conformance: Annotated[
        bool, typer.Option("--conformance", hidden=True, help="With --http: also what MCP's conformance suite calls.")
    ] = False,
) -> None:
    """Serve MCP: over stdio, as hosts start it, or over HTTP on this machine."""
    offer = _offer(toolset, tools)
    if http:
        import anyio

        from atlas_mcp.server.loop import loop_options

        address = HOST if host is None else host, PORT if port is None else port
        anyio.run(_serve_http, *address, tuple(allow_host or ()), offer, conformance, backend_options=loop_options())
        return
    given = {
        "--host": host,
        "--port": port,
        "--allow-host": allow_host or None,
        "--conformance": conformance or None,
    }
    if only_http := next((option for option, value in given.items() if value is not None), None):
        raise InvalidInput("it is for HTTP.", argument=only_http, next_step="Add --http.")
    from atlas_mcp.cli.stdio import run_stdio

    raise typer.Exit(run_stdio(offer))


def _offer(toolset: Toolset | None, tools: str | None) -> Offer:
    if tools is None:
        return toolset or "core"
    if toolset is not None:
        raise InvalidInput("it was given with --toolset.", argument="--tools", next_step="Give one of the two.")
    return tuple(name.strip() for name in tools.split(",") if name.strip())


async def _serve_http(host: str, port: int, allowed: tuple[str, ...], offer: Offer, conformance: bool) -> None:
    from atlas_mcp.atlas import open_atlas
    from atlas_mcp.server.http import create_app, listen, serve_app
    from atlas_mcp.server.logs import log_to_stderr
    from atlas_mcp.settings import load_settings

    settings = load_settings()
    log_to_stderr()
    with listen(host, port, exposed=bool(allowed or settings.public_url)) as listener:
        async with open_atlas(settings) as atlas:
            if conformance:  # the suite gives its first call less time than opening the record takes
                await atlas.execute_runs()
            app = create_app(
                atlas, port=listener.getsockname()[1], hosts=allowed, toolset=offer, conformance=conformance
            )
            _announce(listener, str(settings.home / "keys" / "http"), settings.oauth_issuer)
            await serve_app(app, listener, atlas)


def _announce(listener: socket.socket, key_file: str, issuer: str | None) -> None:
    from rich.console import Console

    host, port = listener.getsockname()[:2]
    address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print(f"[bold]ATLAS[/] serves [cyan]{address}/mcp[/] (Streamable HTTP) and [cyan]{address}/sse[/] (SSE).")
    console.print(f"Clients send [cyan]Authorization: Bearer KEY[/]; the key is in {key_file}")
    others = f"Logins of {issuer} count too, and keys made" if issuer else "Others get a key of their own"
    console.print(f"{others} by [cyan]atlas-mcp keys create NAME[/]")
    console.print(f"People see the runs at [cyan]{address}/board[/]")
    console.print("Ctrl-C stops it; what is unfinished goes on at the next start.", style="dim")
