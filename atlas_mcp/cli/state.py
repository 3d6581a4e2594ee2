"""`atlas-mcp report`: how the house was in the last day or week, told, or written to files."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from atlas_mcp.cli.durations import length
from atlas_mcp.errors import InvalidInput

if TYPE_CHECKING:
    from atlas_mcp.model.house_state import HouseState

_LONGEST = timedelta(days=366)
_WIDTH = 160


def report(
    since: Annotated[str, typer.Option(metavar="TIME", help="How far to look back: 1d, 7d, 12h.")] = "1d",
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as one HTML file.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as Markdown.")] = None,
    http: Annotated[bool, typer.Option("--http", help="With the goals of clients that come over HTTP.")] = False,
) -> None:
    """Tell how it went lately: runs, tasks, agents, costs, alerts, health over time, memory. Works beside a server."""
    import anyio
    from rich.console import Console

    from atlas_mcp.cli.report_html import as_html
    from atlas_mcp.cli.report_markdown import as_markdown
    from atlas_mcp.cli.report_text import as_text
    from atlas_mcp.cli.state_report import state_report

    until = datetime.now(UTC)
    told = state_report(anyio.run(_state, until - length(since, "--since", longest=_LONGEST), until, http))
    console = Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH)
    for name, file, make in (("--html", html, as_html), ("--markdown", markdown, as_markdown)):
        if file is not None:
            _write(name, file, make(told))
            console.print(f"Written to {file}", soft_wrap=True, markup=False)
    if html is None and markdown is None:
        console.print(as_text(told))


def _write(option: str, file: Path, text: str) -> None:
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        step = "Name a file in a folder that is there and that you may write to."
        raise InvalidInput(f"{file} cannot be written: {reason}.", argument=option, next_step=step) from None


async def _state(since: datetime, until: datetime, http: bool) -> HouseState:  # anyio.run passes by position
    from atlas_mcp.atlas import open_history
    from atlas_mcp.settings import load_settings

    async with open_history(load_settings(), http=http) as history:
        return await history.state(since, until)
