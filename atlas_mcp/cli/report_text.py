"""A report on a terminal, or as plain text where there is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich import box
from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from atlas_mcp.cli.plot import Plot, blocks, shown
from atlas_mcp.cli.report import Chart, Grid, Prose, plain, took

if TYPE_CHECKING:
    from rich.console import RenderableType

    from atlas_mcp.cli.report import Report

WIDTH = 40
STYLES = {"done": "green", "failed": "red", "unfinished": "yellow", "at work": "cyan"}
SIGNS = {"done": "█", "failed": "▒", "unfinished": "░", "at work": "▓"}


def as_text(report: Report) -> RenderableType:
    """The report for rich to print. Texts of agents are shown as they are: nothing in them is markup."""
    parts: list[RenderableType] = [Text(plain(report.title), "bold")]
    for section in report.sections:
        parts += [Text(f"\n{section.title}", "bold cyan"), _shown(section.body)]
    return Group(*parts)


def grid(body: Grid, *, whole: int = 0) -> Table:
    """Rows of texts; those of the first `whole` columns are never folded."""
    table = Table(box=box.SIMPLE_HEAD if body.columns else None, show_header=bool(body.columns), pad_edge=False)
    for number, column in enumerate(body.columns or ("", "")):
        table.add_column(column, overflow="fold", no_wrap=number < whole)
    for row in body.rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def _shown(body: Grid | Chart | Prose | Plot) -> RenderableType:
    match body:
        case Plot():
            return Text(plotted(body))
        case Grid():
            return grid(body, whole=body.whole)
        case Prose():
            return Padding(Text(plain(body.text)), (1, 0, 0, 2))
        case Chart():
            return _chart(body)


def plotted(plot: Plot) -> str:
    """A figure over time in a line."""
    if not plot.points:
        return "no value"
    values = [value for _, value in plot.points]
    least, most, last = (shown(value, plot.unit) for value in (min(values), max(values), values[-1]))
    return f"{blocks(plot)}  {least} to {most}, at last {last}"


def _chart(chart: Chart) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    for _ in range(4):
        table.add_column(overflow="fold")
    for bar in chart.bars:
        style = STYLES[bar.outcome]
        drawn = Text(drawn_bar(bar.start, bar.seconds, chart.seconds, SIGNS[bar.outcome]), style)
        said = Text(plain(_said(bar.outcome, bar.text)), style)
        table.add_row(Text(plain(bar.actor)), drawn, Text(took(bar.seconds), "dim"), said)
    return table


def drawn_bar(start: float, seconds: float, whole: float, sign: str) -> str:
    """A bar of WIDTH places: where the time lies within the whole; at least one place is filled."""
    scale = WIDTH / whole if whole > 0 else 0.0
    before = min(WIDTH - 1, int(start * scale))
    length = max(1, min(WIDTH - before, round(seconds * scale)))
    return (" " * before + sign * length).ljust(WIDTH)


def _said(outcome: str, text: str) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= 80 else f"{line[:79]}…"
    return line if outcome == "done" else f"{outcome}: {line}"
