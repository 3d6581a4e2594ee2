"""Whether a change that was applied holds: how team tasks were rated, and turns failed, before it and since.

The rule: it is taken back as soon as the share of failed turns since lies, by its whole 95 % interval, above that of
before; once ENOUGH tasks were rated since, it is kept if it is over SURE that their mean is less than MARGIN lower
than before (Welch; see `statistics.compare`), and taken back if it is over SURE that it is not. Between the two it is
measured on, up to PATIENCE days: then it is taken back, since it was not shown to hold. Where too few tasks were rated
before to compare with, failures alone decide, after as many turns as before or ENOUGH, whichever is more.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from atlas_mcp.model.proposal import SURE
from atlas_mcp.watch.improving.facts import DAYS
from atlas_mcp.watch.improving.statistics import compare, interval, sample

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_mcp.watch.improving.facts import Facts

ENOUGH = 10
PATIENCE = 30
Verdict = Literal["kept", "taken_back", "goes_on"]


@dataclass(frozen=True)
class Stretch:
    """A stretch of time: how its tasks were rated, its turns and how many of them failed, and what those cost."""

    qualities: tuple[float, ...]
    turns: int
    failed: int
    seconds: float
    usd: float

    def told(self) -> dict[str, Any]:
        """In numbers, for people and the record."""
        some = len(self.qualities) > 1
        low, high = interval(self.failed, self.turns)
        return {
            "rated": asdict(sample(self.qualities)) if some else {"n": len(self.qualities)},
            "turns": self.turns,
            "failed": {"of": self.failed, "low": low, "high": high},
            "agents_seconds": self.seconds,
            "usd": self.usd,
        }


def stretch(facts: Facts, start: datetime, end: datetime) -> Stretch:
    """What the facts show of the time from `start` up to `end`, of all tasks and agents."""
    turns = [t for t in facts.turns if start <= t.at < end]
    return Stretch(
        qualities=tuple(one.quality for one in facts.rated if start <= one.at < end),
        turns=len(turns),
        failed=sum(not t.done for t in turns),
        seconds=sum(t.seconds for t in turns),
        usd=sum(t.usd or 0.0 for t in turns),
    )


def measure(
    facts: Facts, applied_at: datetime, now: datetime, before: Stretch | None = None
) -> tuple[Verdict, dict[str, Any]]:
    """The verdict on a change, and what it rests on; `before` is how it was, if that was kept when it was applied."""
    was = before or stretch(facts, applied_at - timedelta(days=DAYS), applied_at)
    since = stretch(facts, applied_at, now)
    late = now - applied_at > timedelta(days=PATIENCE)
    verdict, why = _judged(was, since, late=late)
    return verdict, {"before": was.told() | {"qualities": [*was.qualities]}, "since": since.told(), "why": why}


def read_before(measured: dict[str, Any] | None) -> Stretch | None:
    """How it was before, as `measure` or `first` wrote it down."""
    if not measured or "before" not in measured:
        return None
    was = measured["before"]
    return Stretch(tuple(was["qualities"]), was["turns"], was["failed"]["of"], was["agents_seconds"], was["usd"])


def first(facts: Facts, now: datetime) -> dict[str, Any]:
    """What is kept when a change is applied: how it was until then, which later looks may be too late to see."""
    was = stretch(facts, now - timedelta(days=DAYS), now)
    return {"before": was.told() | {"qualities": [*was.qualities]}, "why": "It was applied just now."}


def _judged(was: Stretch, since: Stretch, *, late: bool) -> tuple[Verdict, str]:
    if interval(since.failed, since.turns)[0] > interval(was.failed, was.turns)[1]:
        return "taken_back", f"{since.failed} of {since.turns} turns failed since, {was.failed} of {was.turns} before."
    if min(len(was.qualities), ENOUGH) >= 2 and len(since.qualities) >= ENOUGH:
        sure = compare(sample(was.qualities), sample(since.qualities)).not_worse
        if sure > SURE:
            return "kept", f"It is {sure:.0%} sure that tasks are rated no worse."
        if sure < 1 - SURE:
            return "taken_back", f"It is {1 - sure:.0%} sure that tasks are rated worse."
    elif len(was.qualities) < 2 and since.turns >= max(ENOUGH, was.turns):
        return "kept", "Turns fail no more often; no tasks were rated before to compare with."
    if late:
        return "taken_back", f"It was not shown to hold within {PATIENCE} days."
    return "goes_on", f"{len(since.qualities)} tasks were rated since; it takes {ENOUGH}."
