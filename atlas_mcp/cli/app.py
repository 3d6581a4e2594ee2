"""The command line as a whole: which commands there are, and how every failure of theirs is told."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from atlas_mcp import __version__
from atlas_mcp.cli.backup import backup, restore
from atlas_mcp.cli.costs import costs
from atlas_mcp.cli.debug import debug
from atlas_mcp.cli.demo import demo
from atlas_mcp.cli.doctor import doctor
from atlas_mcp.cli.evals import evals
from atlas_mcp.cli.improve import improve
from atlas_mcp.cli.letta import letta
from atlas_mcp.cli.memory import memory
from atlas_mcp.cli.portable import export, import_
from atlas_mcp.cli.prompts import prompts
from atlas_mcp.cli.runs import runs
from atlas_mcp.cli.serve import serve
from atlas_mcp.cli.servers import servers
from atlas_mcp.cli.state import report
from atlas_mcp.cli.status import status
from atlas_mcp.cli.traces import traces
from atlas_mcp.cli.warm import warm
from atlas_mcp.cli.worker import worker
from atlas_mcp.errors import AtlasError

app = typer.Typer(
    name="atlas-mcp",
    help="ATLAS: one MCP server behind which a constellation of persistent agents lives.",
    epilog="Started by a host without a command, it serves stdio. The README lists the settings.",
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (demo, serve, worker, status, doctor, report, costs, warm, debug, letta, backup, restore):
    app.command()(command)
for name, command in (("export", export), ("import", import_)):
    app.command(name)(command)
app.add_typer(runs)
app.add_typer(memory)
app.add_typer(evals)
app.add_typer(improve)
app.add_typer(prompts)
app.add_typer(servers)
app.add_typer(traces)

_INTERRUPTED = 130


@app.callback(invoke_without_command=True)
def _main(  # pyright: ignore[reportUnusedFunction]  # typer calls it
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def run(arguments: list[str]) -> int:
    """Run one command; its exit code. A mistake of the user's costs a clear line on stderr, never a traceback."""
    try:
        app(arguments, prog_name="atlas-mcp")
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0
    except AtlasError as error:
        sys.stderr.write(f"atlas-mcp: {error}\n")
        return 2
    except KeyboardInterrupt:
        code = _INTERRUPTED
    else:
        return 0
    if code == _INTERRUPTED:
        sys.stderr.write("atlas-mcp: interrupted\n")
    return code
