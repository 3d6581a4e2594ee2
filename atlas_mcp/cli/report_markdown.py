"""A report as Markdown: tables that are aligned for those who read it as it is, and plots as a line of blocks.

Texts of agents and callers stand in it as text: what Markdown would take for a sign of its own is escaped.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from atlas_mcp.cli.plot import Plot
from atlas_mcp.cli.report import Chart, Grid, Prose, plain, took
from atlas_mcp.cli.report_text import plotted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.cli.report import Report

_WIDEST = 60
"""A column that is wider is not padded to its widest cell."""
_SIGNS = re.compile(r"([\\`*_\[\]<>#|~])")


def as_markdown(report: Report) -> str:
    """The whole file."""
    parts = [f"# {_text(report.title)}"]
    for section in report.sections:
        parts += [f"## {_text(section.title)}", _shown(section.body)]
    return "\n\n".join(parts) + "\n"


def _shown(body: Grid | Chart | Prose | Plot) -> str:
    match body:
        case Plot():
            return f"`{plotted(body)}`"
        case Grid():
            return _table(body.columns or ("", ""), [tuple(map(_text, row)) for row in body.rows])
        case Chart():
            rows = [(_text(bar.actor), bar.outcome, took(bar.seconds), _text(bar.text)) for bar in body.bars]
            return _table(("who", "outcome", "took", "what"), rows)
        case Prose():
            return "\n".join(f"> {_text(line)}" for line in plain(body.text).splitlines())


def _table(columns: Sequence[str], rows: Sequence[tuple[str, ...]]) -> str:
    cells = [tuple(columns), *rows]
    widths = [max(3, min(_WIDEST, max(len(row[place]) for row in cells))) for place in range(len(columns))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def _text(text: str) -> str:
    return _SIGNS.sub(r"\\\1", " ".join(plain(text).split()))
