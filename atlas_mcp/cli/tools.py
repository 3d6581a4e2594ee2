"""`atlas-mcp tools`: what agents can do here, and the other MCP servers that give them tools."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from atlas_mcp.cli.consents import consents
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from atlas_mcp.tooling import Known, Listed, Tried

WIDTH = 160
tools = typer.Typer(
    name="tools",
    help="The tools of the agents, and the other MCP servers that give them some.",
    no_args_is_help=True,
    add_completion=False,
)


tools.add_typer(consents, name="consents", help="What you consented to: tools that may be called without asking.")


@tools.command("list")
def list_tools(as_json: Annotated[bool, typer.Option("--json", help="As JSON, with everything.")] = False) -> None:
    """List all tools: whose they are, what they do at worst, who may have them, and whether a call is asked about.

    Nothing is started: of other servers it shows what was approved.
    """
    import anyio

    from atlas_mcp.cli.report import Grid
    from atlas_mcp.cli.report_text import grid
    from atlas_mcp.settings import load_settings
    from atlas_mcp.tooling import known_tools

    found, problems = anyio.run(known_tools, load_settings())
    if as_json:
        typer.echo(json.dumps({"tools": [_plain(one) for one in found], "problems": problems}, indent=1))
        return
    columns = ("name", "from", "does", "pools", "a call", "state")
    rows = tuple(tuple(str(value) for value in _row(one)) for one in found)
    _console().print(grid(Grid(columns=columns, rows=rows), whole=2))
    for problem in problems:
        typer.echo(problem, err=True)


@tools.command()
def check(
    server: Annotated[str | None, typer.Argument(metavar="[SERVER]", help="Only this one of your servers.")] = None,
) -> None:
    """Start each of your servers, say what it offers and how long that took, and end it. Exit code 1 for trouble."""
    tried, problems = _try_out(server)
    for one in tried:
        _print_tried(one)
    for problem in problems:
        typer.echo(problem, err=True)
    if not tried and not problems:
        typer.echo(
            "You have no other MCP servers. Put them into mcp_servers.json in the home, or set ATLAS_MCP_SERVERS."
        )
    if problems or any(one.problem or one.standing.withheld for one in tried):
        raise typer.Exit(1)


@tools.command()
def login(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="One of your servers, by its name in your file.")],
) -> None:
    """Log in with a server that asks for it, in your browser. What it gives is kept in the home, and renewed."""
    import anyio

    from atlas_mcp.settings import load_settings
    from atlas_mcp.tooling import log_in

    if not anyio.run(log_in, load_settings(), server, _show):
        typer.echo(f"{server} asks for no login.")
        return
    typer.echo(f"You are logged in with {server}.")
    check(server)


@tools.command()
def logout(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="One of your servers, by its name in your file.")],
) -> None:
    """Delete what a login with a server gave. To withdraw the access itself, do so in your account there."""
    import anyio

    from atlas_mcp.settings import load_settings
    from atlas_mcp.tooling import log_out

    known = anyio.run(log_out, load_settings(), server)
    typer.echo(f"You are logged out of {server}." if known else f"You were not logged in with {server}.")


async def _show(address: str) -> None:
    import webbrowser

    import anyio.to_thread

    typer.echo(f"Log in here, in a browser of this machine:\n{address}")
    await anyio.to_thread.run_sync(webbrowser.open, address)


@tools.command()
def approve(
    server: Annotated[str, typer.Argument(metavar="SERVER", help="One of your servers, by its name in your file.")],
    tool: Annotated[str | None, typer.Argument(metavar="[TOOL]", help="Only this tool, by the server's name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Approve without being asked.")] = False,
) -> None:
    """Show how a server's tools changed since they were approved, and approve them as they are now."""
    import anyio

    from atlas_mcp.settings import load_settings
    from atlas_mcp.tooling import approve as keep
    from atlas_mcp.tooling import difference

    found, problems = _try_out(server)
    if not found or found[0].problem:
        typer.echo(f"{server}: {found[0].problem}" if found else problems[0], err=True)
        raise typer.Exit(1)
    tried = found[0]
    wanted = _wanted(tried, tool)
    if not wanted:
        typer.echo(f"Nothing of {server} waits for approval.")
        return
    for one in wanted:
        typer.echo(difference(tried, one))
    if not yes and not typer.confirm(f"Let agents have {_count(len(wanted))} as shown?"):
        typer.echo("Nothing was approved.")
        raise typer.Exit(1)
    anyio.run(keep, load_settings(), server, wanted)
    typer.echo(f"Approved: {', '.join(one.name for one in wanted)}.")


def _try_out(server: str | None) -> tuple[list[Tried], list[str]]:
    import anyio

    from atlas_mcp.settings import load_settings
    from atlas_mcp.tooling import try_out

    return anyio.run(try_out, load_settings(), server)


def _wanted(tried: Tried, tool: str | None) -> list[Listed]:
    """The tools that wait, or the one that was named."""
    listed = {one.tool: one for one in tried.listing.tools}
    if tool is not None and tool not in listed:
        raise InvalidInput(
            f"{tried.config.name} has no usable tool {tool!r}.",
            argument="TOOL",
            allowed=list(listed),
            next_step=f"There are: {', '.join(listed) or 'none'}.",
        )
    waiting = [listed[name] for name in tried.standing.withheld if name in listed]
    return [one for one in waiting if tool in (None, one.tool)]


def _print_tried(one: Tried) -> None:
    if one.problem:
        wrote = f" What it wrote itself: {one.log}" if one.log else ""
        typer.echo(f"{one.config.name}: {one.problem}.{wrote}")
        return
    typer.echo(f"{one.config.name}: {_count(len(one.listing.tools))} in {one.seconds:.1f} s")
    for listed in one.listing.tools:
        withheld = one.standing.withheld.get(listed.tool)
        flag = f"; it reads like an order: {listed.flag}" if listed.flag else ""
        state = f"withheld: {withheld}" if withheld else "approved" if listed.tool in one.approved else "new"
        typer.echo(f"  {listed.name} ({', '.join(listed.marks)}): {state}{flag}")
    for note in one.listing.notes:
        typer.echo(f"  {note}")


def _count(number: int) -> str:
    return "1 tool" if number == 1 else f"{number} tools"


def _row(one: Known) -> tuple[object, ...]:
    tool = one.tool
    asked = {"ask": "asks", "run": "asks once a run", "always": "asks once", "allow": "unasked", "refuse": "refused"}
    pools = " ".join(sorted(tool.pools))
    return tool.name, tool.origin, " ".join(tool.marks), pools, asked[tool.approval], one.state


def _plain(one: Known) -> dict[str, Any]:
    tool = one.tool
    return {
        "name": tool.name,
        "from": tool.origin,
        "kind": tool.kind,
        "marks": list(tool.marks),
        "pools": sorted(tool.pools),
        "approval": tool.approval,
        "state": one.state,
        "description": tool.spec.description,
    }


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)
