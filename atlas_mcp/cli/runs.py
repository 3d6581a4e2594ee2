"""`atlas-mcp runs`: the runs of this home, listed, told, answered, and thrown away when they are old."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.cli.durations import length
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from rich.console import Console

    from atlas_mcp.model.run import Run

FILE_WIDTH = 160
runs = typer.Typer(
    name="runs", help="The runs of this home: what was asked for, and what came of it.", no_args_is_help=True,
    add_completion=False,
)  # fmt: skip
Http = Annotated[bool, typer.Option("--http", help="Those of clients that come over HTTP with the home's key.")]


@runs.command("list")
def list_runs(
    status: Annotated[str | None, typer.Option(help="Only runs with this status, such as working.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many at most.")] = 20,
    http: Http = False,
) -> None:
    """List the runs, newest first."""
    import anyio

    from atlas_mcp.cli.report import listed
    from atlas_mcp.cli.report_text import grid

    found = anyio.run(_list, status, limit, http)
    _console().print(grid(listed(found, datetime.now(UTC)), whole=3) if found else "There are none.")


@runs.command()
def show(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The run, as list shows it.")],
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as one HTML file instead.")] = None,
    http: Http = False,
) -> None:
    """Tell a run from its journal: who did what when, how it was rated, what came of it and what is missing."""
    import anyio

    from atlas_mcp.cli.report import report

    told = report(anyio.run(_show, run_id, http), datetime.now(UTC))
    console = _console()
    if html is None:
        from atlas_mcp.cli.report_text import as_text

        console.print(as_text(told))
        return
    from atlas_mcp.cli.report_html import as_html

    try:
        html.write_text(as_html(told), encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        step = "Name a file in a folder that is there and that you may write to."
        raise InvalidInput(f"{html} cannot be written: {reason}.", argument="--html", next_step=step) from None
    console.print(f"Written to {html}", soft_wrap=True, markup=False)


@runs.command()
def answer(
    run_id: Annotated[str, typer.Argument(metavar="ID", help="The run, as list shows it.")],
    answer: Annotated[str, typer.Argument(help="One of the options that show tells, or words where words fit.")],
    http: Http = False,
) -> None:
    """Answer what a run asks; the first answer counts."""
    import anyio

    typer.echo(anyio.run(_answer, run_id, answer, http))


@runs.command()
def prune(
    older_than: Annotated[str, typer.Option(metavar="TIME", help="How long ago they ended, as 30d or 12h.")] = "30d",
    keep: Annotated[int, typer.Option(min=0, help="Keep so many of each caller's newest.")] = 0,
) -> None:
    """Delete old runs of every caller, with their journals and results. What goes on, and what was learned, stays."""
    import anyio

    deleted, size = anyio.run(_prune, length(older_than, "--older-than", or_none_at_all=True), keep)
    typer.echo(f"{deleted} runs deleted, which held {size:,} bytes.")


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else FILE_WIDTH)


async def _list(status: str | None, limit: int, http: bool) -> list[Run]:  # anyio.run passes by position
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings(), http=http) as history:
        return await history.list(status=status, limit=limit)


async def _show(run_id: str, http: bool) -> Run:
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings(), http=http) as history:
        return await history.run(run_id)


async def _answer(run_id: str, answer: str, http: bool) -> str:
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings(), http=http) as history:
        return await history.answer(run_id, answer)


async def _prune(older_than: timedelta, keep: int) -> tuple[int, int]:
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings()) as history:
        done = await history.prune(older_than, keep=keep)
    return done.runs, done.bytes
