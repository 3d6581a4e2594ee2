"""Who worked when: the turns of a run, as its journal tells them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from atlas_mcp.model.run import ENDED

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_mcp.model.run import Event, Run

Outcome = Literal["done", "failed", "unfinished", "at work"]
_BEGINS = frozenset({"turn_started", "turn_retried"})
_FAILS = frozenset({"worker_failed", "turn_failed"})


@dataclass(frozen=True)
class Bar:
    """One turn: who took it, from when on, how long, and how it ended; seconds count from the run's beginning."""

    actor: str
    start: float
    seconds: float
    outcome: Outcome
    text: str


def bars(run: Run, end: datetime) -> tuple[Bar, ...]:
    """The run's turns in the order they began; those without an end last until `end`."""
    begun: list[Event] = []
    found: list[Bar] = []

    def close(event: Event, at: datetime, outcome: Outcome, text: str) -> None:
        begun.remove(event)
        start = (event.at - run.created_at).total_seconds()
        found.append(Bar(event.actor, max(0.0, start), (at - event.at).total_seconds(), outcome, text))

    for event in run.events:
        if event.type == "turn_finished" and (own := _begun(begun, event)):
            close(own, event.at, "done", event.text)
        elif (event.type in _FAILS or event.type == "turn_retried") and (own := _begun(begun, event)):
            close(own, event.at, "failed", event.text)
        if event.type in _BEGINS:
            begun.append(event)
    left: Outcome = "unfinished" if run.status in ENDED else "at work"
    for event in [*begun]:
        close(event, end, left, event.text)
    return tuple(sorted(found, key=lambda bar: bar.start))


def _begun(begun: list[Event], event: Event) -> Event | None:
    """The beginning of the turn that this event tells of: by its turn, else the oldest open one of the same agent."""
    mine = [b for b in begun if b.actor == event.actor]
    return next((b for b in mine if event.turn_id and b.turn_id == event.turn_id), mine[0] if mine else None)
