"""`atlas-mcp debug`: one run looked at closely, after the fact or while it goes on."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.cli.runs import FILE_WIDTH, Http
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from atlas_mcp.model.look import Look, TurnLook


def debug(
    run_id: Annotated[str, typer.Argument(metavar="RUN", help="The run, as `atlas-mcp runs list` shows it.")],
    turn: Annotated[
        str | None, typer.Option(metavar="ID", help="One turn in full: its number, its id or the id's beginning.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="All of it as JSON.")] = False,
    http: Http = False,
) -> None:
    """Show what a run's agents did and were given, step by step, and where its time and money went."""
    import anyio

    from atlas_mcp.cli import debug_report

    look = anyio.run(_look, run_id, http)
    chosen = None if turn is None else _chosen(look, turn)
    if as_json:
        typer.echo(json.dumps(debug_report.as_json(look, chosen), ensure_ascii=False, indent=2))
        return
    console = _console()
    if chosen is not None:
        from atlas_mcp.cli.report_text import as_text

        console.print(as_text(debug_report.turn_report(look, chosen)))
    else:
        show(look, console, datetime.now(UTC))


def show(look: Look, console: Console, now: datetime) -> None:
    """Print the whole look."""
    from rich.text import Text

    from atlas_mcp.cli.debug_chart import chart, legend
    from atlas_mcp.cli.debug_report import after, before
    from atlas_mcp.cli.debug_times import critical
    from atlas_mcp.cli.report import plain
    from atlas_mcp.cli.report_text import as_text

    console.print(as_text(before(look, now)))
    console.print(Text("\nWho worked when", "bold cyan"))
    if look.turns:
        console.print(chart(look, critical(look.turns, look.seconds), console.width))
        console.print(Text(legend(), "dim"))
    else:
        console.print("No agent has begun a turn.")
    console.print(as_text(after(look, now)))
    console.print(Text(f"\n{plain(look.traces)}", "dim"))
    if look.turns:
        console.print(Text(f"One turn in full: atlas-mcp debug {look.run.run_id} --turn NUMBER", "dim"))


def _chosen(look: Look, wanted: str) -> TurnLook:
    if wanted.isascii() and wanted.isdigit() and 1 <= int(wanted) <= len(look.turns):
        return look.turns[int(wanted) - 1]
    found = [one for one in look.turns if one.turn_id.startswith(wanted) or one.turn_id.startswith(f"turn-{wanted}")]
    if len(found) == 1:
        return found[0]
    problem = f"{len(found)} turns begin with {wanted!r}" if found else f"the run has no turn {wanted!r}"
    step = f"Give a number from 1 to {len(look.turns)}, or an id." if look.turns else "No agent has begun a turn."
    raise InvalidInput(f"{problem}.", argument="--turn", next_step=step)


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


async def _look(run_id: str, http: bool) -> Look:  # anyio.run passes by position
    from atlas_mcp.atlas import look_at
    from atlas_mcp.settings import load_settings

    return await look_at(load_settings(), run_id, http=http)
