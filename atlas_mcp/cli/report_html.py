"""A report as one HTML file that needs nothing else: no network, no scripts, light or dark as the reader likes it.

Every text is written by a person or a model and stands in the page as text, never as markup; and should one get through
all the same, the page's own policy lets a browser load and run nothing.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from atlas_mcp.cli.plot import Plot, svg
from atlas_mcp.cli.report import Chart, Grid, Prose, plain, took

if TYPE_CHECKING:
    from atlas_mcp.cli.report import Report, Section
    from atlas_mcp.cli.turns_done import Bar

_STYLE = """
:root { color-scheme: light dark; --line: #d4d4d8; --dim: #6b7280; --back: #ffffff; --text: #18181b; --card: #f4f4f5;
  --done: #16a34a; --failed: #dc2626; --unfinished: #d97706; --at-work: #0891b2; }
@media (prefers-color-scheme: dark) {
  :root { --line: #3f3f46; --dim: #a1a1aa; --back: #18181b; --text: #f4f4f5; --card: #27272a;
    --done: #4ade80; --failed: #f87171; --unfinished: #fbbf24; --at-work: #22d3ee; } }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 68rem; margin: 2rem auto; padding: 0 1rem;
  background: var(--back); color: var(--text); }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2.2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid var(--line);
  overflow-wrap: anywhere; }
th { color: var(--dim); font-weight: 600; } thead th { white-space: nowrap; }
.prose { white-space: pre-wrap; background: var(--card); padding: 1rem; border-radius: .5rem; overflow-wrap: anywhere; }
.chart td { border: 0; padding-block: .15rem; } .chart .when { width: 45%; } .dim { color: var(--dim); }
.track { background: var(--card); border-radius: .2rem; height: 1rem; }
.bar { height: 1rem; border-radius: .2rem; min-width: 2px; }
.done { background: var(--done); } .failed { background: var(--failed); }
.plot { width: 100%; max-width: 44rem; height: auto; } .plot .axis { stroke: var(--line); }
.plot .mark { fill: var(--dim); font-size: 11px; } .plot .dot { fill: var(--at-work); }
.plot .line { fill: none; stroke: var(--at-work); stroke-width: 1.6; stroke-linejoin: round; }
.unfinished { background: var(--unfinished); } .at-work { background: var(--at-work); }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def as_html(report: Report) -> str:
    """The whole file."""
    sections = "\n".join(map(_section, report.sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{_text(report.run_id)}: {_text(report.status)}</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>{_text(report.title)}</h1>
{sections}
</body>
</html>
"""


def _section(section: Section) -> str:
    match section.body:
        case Grid():
            body = _grid(section.body)
        case Chart():
            body = _chart(section.body)
        case Plot():
            body = svg(section.body, plain(section.title)) if section.body.points else "<p>no value</p>"
        case Prose():
            body = f'<div class="prose">{_text(section.body.text)}</div>'
    return f"<section>\n<h2>{_text(section.title)}</h2>\n{body}\n</section>"


def _grid(grid: Grid) -> str:
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in grid.columns)
    head = f"<thead><tr>{head}</tr></thead>" if head else ""
    return f"<table>{head}<tbody>\n{''.join(_row(row, named=not grid.columns) for row in grid.rows)}</tbody></table>"


def _row(row: tuple[str, ...], *, named: bool) -> str:
    first = f'<th scope="row">{_text(row[0])}</th>' if named else f"<td>{_text(row[0])}</td>"
    return f"<tr>{first}{''.join(f'<td>{_text(cell)}</td>' for cell in row[1:])}</tr>\n"


def _chart(chart: Chart) -> str:
    rows = "".join(_bar(bar, chart.seconds) for bar in chart.bars)
    return f'<table class="chart"><tbody>\n{rows}</tbody></table>'


def _bar(bar: Bar, whole: float) -> str:
    scale = 100 / whole if whole > 0 else 0.0
    start = min(100.0, bar.start * scale)
    width = min(100.0 - start, bar.seconds * scale)
    drawn = (
        f'<div class="bar {bar.outcome.replace(" ", "-")}" style="margin-left:{start:.2f}%;width:{width:.2f}%"></div>'
    )
    said = bar.text if bar.outcome == "done" else f"{bar.outcome}: {bar.text}"
    return (
        f'<tr><td>{_text(bar.actor)}</td><td class="when"><div class="track">{drawn}</div></td>'
        f'<td class="dim">{took(bar.seconds)}</td><td>{_text(said)}</td></tr>\n'
    )


def _text(text: str) -> str:
    return escape(plain(text))
