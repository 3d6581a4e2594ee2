"""The command line as a whole: which commands there are, and how every failure of theirs is told."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp import __version__
from atlas_mcp.cli.audit import audit
from atlas_mcp.cli.backup import backup, restore
from atlas_mcp.cli.chat import chat
from atlas_mcp.cli.costs import costs
from atlas_mcp.cli.debug import debug
from atlas_mcp.cli.demo import demo
from atlas_mcp.cli.doctor import doctor
from atlas_mcp.cli.evals import evals
from atlas_mcp.cli.guard import guard
from atlas_mcp.cli.improve import improve
from atlas_mcp.cli.install import install, uninstall
from atlas_mcp.cli.keys import keys
from atlas_mcp.cli.letta import letta
from atlas_mcp.cli.memory import memory
from atlas_mcp.cli.portable import export, import_
from atlas_mcp.cli.prompts import prompts
from atlas_mcp.cli.runs import runs
from atlas_mcp.cli.scenarios import play
from atlas_mcp.cli.serve import serve
from atlas_mcp.cli.servers import servers
from atlas_mcp.cli.state import report
from atlas_mcp.cli.status import status
from atlas_mcp.cli.steering import leave_out_steering
from atlas_mcp.cli.tools import tools
from atlas_mcp.cli.traces import traces
from atlas_mcp.cli.warm import warm
from atlas_mcp.cli.worker import worker
from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Callable

app = typer.Typer(
    name="atlas-mcp",
    help="ATLAS: one MCP server behind which a constellation of persistent agents lives.",
    epilog="Started by a host without a command, it serves stdio. The README lists the settings.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_PANELS: dict[str, list[tuple[str, Callable[..., None] | typer.Typer, str]]] = {
    "Start here": [
        ("demo", demo, "Watch a team of agents work on a text, here and now."),
        ("install", install, "Put ATLAS into a host's list of servers."),
        ("uninstall", uninstall, "Take it out of there again."),
        ("doctor", doctor, "Look at every part, and say what mends it."),
        ("status", status, "Show what works and what does not."),
    ],
    "Agents and runs": [
        ("chat", chat, "Talk to one agent."),
        ("warm", warm, "Create the agents ahead."),
        ("runs", runs, "The runs of this home, and what came of them."),
        ("servers", servers, "The Lettas that agents live on."),
        ("tools", tools, "What agents can do, and the MCP servers they reach."),
    ],
    "Memory": [
        ("export", export, "Write your constellation, or one agent, to a file."),
        ("import", import_, "Bring a constellation, or one agent, from a file."),
        ("memory", memory, "What the agents of this home remember."),
    ],
    "Watching and improving": [
        ("debug", debug, "What a run's agents were given and did, step by step."),
        ("costs", costs, "What work cost."),
        ("report", report, "How it went lately."),
        ("traces", traces, "What the agents did, on MLflow's own page."),
        ("test", play, "Play scenarios of agents at work, and judge them."),
        ("guard", guard, "Try texts that give orders against the guard."),
        ("eval", evals, "Whether a change makes the work better, measured."),
        ("improve", improve, "Proposals to work cheaper, quicker, with fewer agents."),
        ("prompts", prompts, "The personas and openings of tasks, in versions."),
    ],
    "Operating": [
        ("serve", serve, "Serve MCP, over stdio or HTTP."),
        ("worker", worker, "Execute runs, and serve nobody."),
        ("letta", letta, "Serve the embedded Letta by itself."),
        ("audit", audit, "Who did what to what, when, and how it ended."),
        ("backup", backup, "Write the whole home to one file."),
        ("restore", restore, "Put the home as a backup has it."),
        ("keys", keys, "The keys by which people and programs come over HTTP."),
    ],
}
for _panel, _commands in _PANELS.items():
    for _name, _command, _line in _commands:
        if isinstance(_command, typer.Typer):
            app.add_typer(_command, name=_name, short_help=_line, rich_help_panel=_panel)
        else:
            app.command(_name, short_help=_line, rich_help_panel=_panel)(_command)

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
    leave_out_steering()
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
