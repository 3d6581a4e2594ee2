"""Figures over time, drawn: as SVG within a page, and as a line of blocks where there is only text."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from html import escape

WIDTH, HEIGHT = 640, 140
_LEFT, _BELOW, _ABOVE = 64, 20, 8
_BLOCKS = "▁▂▃▄▅▆▇█"
_SHORT = timedelta(hours=36)


@dataclass(frozen=True)
class Plot:
    """Values between two moments, oldest first; `unit` is written beside them. Moments without a value are gaps."""

    since: datetime
    until: datetime
    points: tuple[tuple[datetime, float], ...]
    unit: str = ""

    @property
    def most(self) -> float:
        """The end of the scale, which begins at zero: the first of 1, 2, 5, 10, 20 … or 0.1, 0.2, 0.5 not exceeded."""
        highest = max((value for _, value in self.points), default=0.0)
        if highest <= 0:
            return 1.0
        step = 10.0 ** (len(f"{int(highest)}") - 1) if highest >= 1 else 1e-9
        while True:
            for times in (1, 2, 5):
                if highest <= step * times * (1 + 1e-12):
                    return step * times
            step *= 10


def shown(value: float, unit: str) -> str:
    """A value as people read it."""
    match unit:
        case "MB":
            return f"{value:,.4g} MB"
        case "share":
            return f"{value:.1%}"
        case "s":
            return f"{value:,.2f} s"
        case _:
            return f"{value:,.4g}"


def svg(plot: Plot, title: str) -> str:
    """The plot as an image with its scale, for a page that has the classes `axis`, `line` and `mark`."""
    parts = [
        f'<svg class="plot" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(title)}">',
        f"<title>{escape(title)}</title>",
    ]
    for share in (0.0, 0.5, 1.0):
        y = _y(share)
        parts.append(f'<line class="axis" x1="{_LEFT}" y1="{y:.1f}" x2="{WIDTH}" y2="{y:.1f}"/>')
        text = escape(shown(plot.most * share, plot.unit))
        parts.append(f'<text class="mark" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        text = escape(_moment(plot, share))
        x = _LEFT + share * (WIDTH - _LEFT)
        parts.append(f'<text class="mark" x="{x:.1f}" y="{HEIGHT - 4}" text-anchor="{anchor}">{text}</text>')
    for stretch in _stretches(plot):
        if len(stretch) == 1:
            parts.append(f'<circle class="dot" cx="{stretch[0][0]:.1f}" cy="{stretch[0][1]:.1f}" r="1.8"/>')
        else:
            line = " ".join(f"{x:.1f},{y:.1f}" for x, y in stretch)
            parts.append(f'<polyline class="line" points="{line}"/>')
    return "".join([*parts, "</svg>"])


def blocks(plot: Plot, width: int = 40) -> str:
    """The plot as so many characters: the mean of each stretch, a space where there is no value."""
    whole = (plot.until - plot.since).total_seconds() or 1.0
    cells: list[list[float]] = [[] for _ in range(width)]
    for at, value in plot.points:
        cells[min(width - 1, max(0, int((at - plot.since).total_seconds() / whole * width)))].append(value)
    return "".join(_block(sum(cell) / len(cell) / plot.most) if cell else " " for cell in cells)


def _block(share: float) -> str:
    return _BLOCKS[min(len(_BLOCKS) - 1, max(0, int(share * len(_BLOCKS))))]


def _stretches(plot: Plot) -> list[list[tuple[float, float]]]:
    """Where the line is drawn: it is broken where values are missing for three times as long as is usual."""
    whole = (plot.until - plot.since).total_seconds() or 1.0
    gaps = sorted((later[0] - at).total_seconds() for (at, _), later in zip(plot.points, plot.points[1:], strict=False))
    longest = 3 * gaps[len(gaps) // 2] if gaps else 0.0
    found: list[list[tuple[float, float]]] = []
    before: datetime | None = None
    for at, value in plot.points:
        x = _LEFT + (at - plot.since).total_seconds() / whole * (WIDTH - _LEFT)
        if before is None or (at - before).total_seconds() > longest:
            found.append([])
        found[-1].append((x, _y(value / plot.most)))
        before = at
    return found


def _y(share: float) -> float:
    return _ABOVE + (1.0 - share) * (HEIGHT - _ABOVE - _BELOW)


def _moment(plot: Plot, share: float) -> str:
    at = plot.since + share * (plot.until - plot.since)
    return f"{at:%H:%M}" if plot.until - plot.since <= _SHORT else f"{at:%m-%d %H:%M}"
