"""What must hold of a piece of work, and what of it does not: each failure says what was expected and what there is."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from atlas_mcp.model.result import Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from atlas_mcp.model.run import Event, Run
    from atlas_mcp.model.scenario import Expect, Happening, Remembered
    from atlas_mcp.model.usage import Usage

_SHOWN = 200


@dataclass(frozen=True)
class Seen:
    """What came of it: the run, where it was one; the text; what it took; and what was found where memory is looked
    into, in the order of what is expected of it."""

    text: str
    usage: Usage
    seconds: float
    run: Run | None = None
    memory: tuple[str, ...] = field(default=())


def failures(expect: Expect, seen: Seen, *, real: bool = False) -> list[str]:
    """What does not hold; empty where all does. Seconds are judged only where the models are `real`."""
    found = [*_outcome(expect, seen), *_journal(expect, seen), *_text(expect, seen)]
    found += [*_result(expect, seen), *_remembered(expect.memory, seen.memory), *_cost(expect, seen, real=real)]
    return found


def used(expect: Expect, usage: Usage) -> float | None:
    """The greatest share of what it may take that it took; None where nothing is said about it."""
    most = expect.at_most
    tokens = usage.input_tokens + usage.output_tokens
    pairs = ((usage.turns, most.turns), (tokens, most.tokens), (usage.cost_usd or 0.0, most.usd))
    return max((took / limit for took, limit in pairs if limit), default=None)


def _outcome(expect: Expect, seen: Seen) -> Iterator[str]:
    run = seen.run
    if run is None:
        return
    error = run.error or ""
    if run.status != expect.status:
        yield f"the run is {run.status}, not {expect.status}" + (f": {_short(error)}" if error else "")
    if expect.error is not None and expect.error not in error:
        yield f"its error does not say {expect.error!r}: {_short(error) or 'there is none'}"
    teams = [part.team for part in run.plan.parts] if run.plan else []
    for team in expect.plan:
        if team not in teams:
            yield f"the plan gives no part to {team}; it has {', '.join(teams) or 'none'}"


def _journal(expect: Expect, seen: Seen) -> Iterator[str]:
    events = seen.run.events if seen.run else []
    for wanted in expect.events:
        count = sum(_is(event, wanted) for event in events)
        if wanted.count is None and not count:
            yield f"the journal has no {_named(wanted)}; {_near(events, wanted)}"
        elif wanted.count is not None and count != wanted.count:
            yield f"the journal has {count} of {_named(wanted)}, not {wanted.count}"
    at = 0
    for before, wanted in zip((None, *expect.order), expect.order, strict=False):
        place = next((n for n in range(at, len(events)) if _is(events[n], wanted)), None)
        if place is None:
            after = f" after {_named(before)}" if before else ""
            yield f"the journal has no {_named(wanted)}{after}; {_near(events, wanted)}"
            return
        at = place + 1


def _text(expect: Expect, seen: Seen) -> Iterator[str]:
    shown = _short(seen.text) or "nothing"
    for words in expect.contains:
        if words not in seen.text:
            yield f"the output does not contain {words!r}; it says: {shown}"
    for words in expect.omits:
        if words in seen.text:
            at = max(0, seen.text.index(words) - 40)
            yield f"the output contains {words!r}: {_short(seen.text[at : at + 120])}"
    for pattern in expect.matches:
        if not re.search(pattern, seen.text):
            yield f"the output does not match {pattern!r}; it says: {shown}"


def _result(expect: Expect, seen: Seen) -> Iterator[str]:
    result = (seen.run.result if seen.run else None) or Result(output="", rounds=0)
    if expect.evidence is not None and len(result.evidence) < expect.evidence:
        yield f"there are {len(result.evidence)} pieces of evidence; there should be {expect.evidence} at least"
    if expect.disagreements is not None and len(result.disagreements) < expect.disagreements:
        yield f"there are {len(result.disagreements)} disagreements; there should be {expect.disagreements} at least"
    if expect.rounds is not None and result.rounds != expect.rounds:
        yield f"it was rated in {result.rounds} rounds, not {expect.rounds}"
    if expect.passed is not None and result.passed != expect.passed:
        yield f"the work {'passed' if result.passed else 'did not pass'} its rating"
    if expect.unmet is not None and {*expect.unmet} != {*result.unmet}:
        yield f"unmet criteria are {result.unmet or 'none'}, not {list(expect.unmet) or 'none'}"
    missing = sorted({one.agent for one in result.missing})
    if expect.missing is not None and sorted({*expect.missing}) != missing:
        yield f"work is missing of {missing or 'nobody'}, not of {sorted(expect.missing) or 'nobody'}"
    if expect.stopped is not None and expect.stopped not in (result.stopped or ""):
        yield f"why it stopped early does not say {expect.stopped!r}: {_short(result.stopped or '') or 'it did not'}"


def _remembered(wanted: Sequence[Remembered], found: Sequence[str]) -> Iterator[str]:
    for one, text in zip(wanted, found, strict=True):
        where = f"a search for {one.search!r}" if one.search else f"the block {one.label} of {one.agent}"
        for words in one.contains:
            if words not in text:
                yield f"{where} does not give {words!r}; it gives: {_short(text) or 'nothing'}"
        for words in one.omits:
            if words in text:
                yield f"{where} gives {words!r}, which should not be remembered"


def _cost(expect: Expect, seen: Seen, *, real: bool) -> Iterator[str]:
    most, usage = expect.at_most, seen.usage
    tokens = usage.input_tokens + usage.output_tokens
    if most.turns is not None and usage.turns > most.turns:
        yield f"it took {usage.turns} turns; {most.turns} is the most"
    if most.tokens is not None and tokens > most.tokens:
        yield f"it took {tokens} tokens; {most.tokens} is the most"
    if most.usd is not None and (usage.cost_usd is None or usage.cost_usd > most.usd):
        cost = "is not known" if usage.cost_usd is None else f"was ${usage.cost_usd:.4f}"
        yield f"what it cost {cost}; ${most.usd:.4f} is the most"
    if real and most.seconds is not None and seen.seconds > most.seconds:
        yield f"it took {seen.seconds:.1f} s; {most.seconds:g} s is the most"


def _is(event: Event, wanted: Happening) -> bool:
    return (
        event.type == wanted.type
        and wanted.actor in {None, event.actor}
        and (wanted.words is None or wanted.words in event.text)
    )


def _named(wanted: Happening) -> str:
    by = f" by {wanted.actor}" if wanted.actor else ""
    return f"{wanted.type}{by}" + (f" with {wanted.words!r}" if wanted.words else "")


def _near(events: Sequence[Event], wanted: Happening) -> str:
    """What there is that comes nearest, so that a misspelt name is seen as such."""
    of_type = [event for event in events if event.type == wanted.type]
    say: Callable[[set[str]], str] = lambda names: ", ".join(sorted(names)) or "none"  # noqa: E731
    if of_type and wanted.actor and not any(event.actor == wanted.actor for event in of_type):
        return f"there are of {say({event.actor for event in of_type})}"
    if of_type:
        return f"there is: {_short(of_type[0].text)}"
    return f"there are the types {say({event.type for event in events})}"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
