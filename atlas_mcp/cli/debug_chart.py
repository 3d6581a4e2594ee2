"""A run's turns as bars on one axis of time, team by team; the critical path is marked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from atlas_mcp.cli.report import plain, took
from atlas_mcp.cli.report_text import SIGNS, STYLES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.look import Look, TurnLook

MARK = "*"
WAITS = "·"
_LEAST, _MOST = 16, 120
_LONGEST_NAME, _REST = 28, 26
"""Places beside the bars: for an agent's name; for its mark, its turn's number and length, and how that ended."""
_ALONE = "apart"


def chart(look: Look, path: Sequence[TurnLook], width: int) -> Table:
    """One bar a turn, for a terminal of that width; a turn's number is its place in the order they began."""
    name = min(_LONGEST_NAME, max(len(one.agent) for one in look.turns), max(10, width // 4))
    places = max(_LEAST, min(_MOST, width - name - _REST))
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(width=1)
    table.add_column(width=name + 4, no_wrap=True, overflow="ellipsis")
    table.add_column(width=places, no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    table.add_row("", "", Text(axis(look.seconds, places), "dim"), "", "")
    critical = {id(one) for one in path}
    for team, turns in by_team(look.turns):
        table.add_row("", Text(plain(team), "bold"), "", "", "")
        for number, turn in turns:
            table.add_row(
                Text(MARK if id(turn) in critical else "", "bold magenta"),
                Text(f"{number:>3} {plain(turn.agent)}"),
                Text(bar(turn, look.seconds, places), STYLES[turn.outcome]),
                Text(took(turn.seconds), "dim"),
                Text("" if turn.outcome == "done" else turn.outcome, STYLES[turn.outcome]),
            )
    return table


def legend() -> str:
    """What the signs mean."""
    signs = ", ".join(f"{sign} {outcome}" for outcome, sign in SIGNS.items())
    return f"{MARK} on the critical path; {WAITS} waited to begin; {signs}"


def by_team(turns: Sequence[TurnLook]) -> list[tuple[str, list[tuple[int, TurnLook]]]]:
    """The turns with their numbers, by team, in the order the teams began."""
    found: dict[str, list[tuple[int, TurnLook]]] = {}
    for number, turn in enumerate(turns, 1):
        found.setdefault(turn.team or _ALONE, []).append((number, turn))
    return list(found.items())


def bar(turn: TurnLook, whole: float, places: int) -> str:
    """The turn on an axis of so many places: first how long it waited, then itself, at least one place."""
    scale = places / whole if whole > 0 else 0.0
    start = min(places - 1, int(turn.start * scale))
    end = max(start + 1, min(places, round(turn.end * scale)))
    waited = min(end - start - 1, round(turn.waited * scale))
    sign = SIGNS[turn.outcome]
    return (" " * start + WAITS * waited + sign * (end - start - waited)).ljust(places)


def axis(whole: float, places: int) -> str:
    """The axis: its beginning, its middle and its end, in the run's time."""
    middle, end = took(whole / 2), took(whole)
    left = f"0{' ' * max(1, places // 2 - 1 - len(middle) // 2)}{middle}"
    return f"{left}{end.rjust(max(len(end) + 1, places - len(left)))}"[:places]
