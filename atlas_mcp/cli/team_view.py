"""A team seen at work: who is doing what, as the run's events tell it.

On a terminal a live table; elsewhere one plain line an event, so that a log reads as well.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from rich import box
from rich.console import Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from atlas_mcp.server.narration import Narration

if TYPE_CHECKING:
    from types import TracebackType

    from rich.console import Console, RenderableType

    from atlas_mcp.model.run import Event, Run

_FEED = 6
_LINE = 150


def _short(text: str) -> str:
    return text if len(text) <= _LINE else f"{text[: _LINE - 1]}…"


@dataclass
class _Row:
    """An agent's row; one agent may be in several turns at once, each in a conversation of its own."""

    text: str = ""
    working: int = 0
    turns: int = 0
    failed: bool = False
    spinner: Spinner = field(default_factory=lambda: Spinner("dots", style="cyan"))


class TeamView:
    """Shows one run while it goes on; use as a context manager and hand it each state of the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: dict[str, _Row] = {}
        self._feed: list[Text] = []
        self._progress = (0, 0)
        self._narration = Narration()
        self._standing: list[str] = []
        self._started = time.monotonic()
        self._live = Live(get_renderable=self._frame, console=console, refresh_per_second=10, transient=True)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._live.stop()
            self._console.print(self._table())

    def show(self, run: Run) -> None:
        """Take in the run's news."""
        self._progress = (run.progress.done, run.progress.total)
        for event, line in zip(run.events, self._narration.lines(run), strict=True):
            self._take(event, line)
        self._standing = self._narration.standing(run)

    def _take(self, event: Event, told: str) -> None:
        text = event.text.removeprefix(event.actor).lstrip(" :")
        if event.type == "turn_started":
            row = self._rows.setdefault(event.actor, _Row())
            row.working, row.text, row.failed = row.working + 1, text, False
        elif row := self._rows.get(event.actor):
            if event.type == "turn_finished":
                row.working, row.turns, row.text = max(0, row.working - 1), row.turns + 1, text
            elif event.type.endswith("failed"):
                row.working, row.failed, row.text = max(0, row.working - 1), True, text
        when = (f"{time.monotonic() - self._started:6.1f} s  ", "dim")
        if self._console.is_terminal:
            self._feed = [*self._feed, Text.assemble(when, _short(event.text))][-_FEED:]
        else:
            self._console.print(Text.assemble(when, told), soft_wrap=True)

    def _frame(self) -> RenderableType:
        done, total = self._progress
        standing = [f"{done} of {total or '?'} turns", *self._standing, f"{time.monotonic() - self._started:.0f} s"]
        elapsed = Text("; ".join(standing), "dim")
        return Group(ProgressBar(total=max(total, 1), completed=done, width=60), elapsed, self._table(), *self._feed)

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("", "agent", "turns", "doing"):
            table.add_column(column, no_wrap=column != "doing", overflow="ellipsis")
        for name, row in self._rows.items():
            sign = row.spinner if row.working else Text("✗", "red") if row.failed else Text("✓", "green")
            table.add_row(sign, name, str(row.turns), Text(row.text, "" if row.working else "dim"))
        return table
