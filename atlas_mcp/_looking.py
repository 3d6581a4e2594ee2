"""One run looked at closely: the record says what was done, and the home's traces, where they are, what happened in it.

Nothing is executed and nothing changed. The record alone is enough; a run whose traces are elsewhere, were pruned or
never made is shown without what only they tell, and the look says so.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio.to_thread

from atlas_mcp._history import open_history
from atlas_mcp._looking_context import contexts, left_out, pieces
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import BrokenRoster
from atlas_mcp.model.look import Asked, Charge, Look, Step, StepKind, TurnLook
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.usage import Usage
from atlas_mcp.store.home import open_home
from atlas_mcp.watch.seen_spans import spans_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atlas_mcp.model.look import Outcome
    from atlas_mcp.model.run import Event, Run
    from atlas_mcp.runs.closely import Entered, Kept, KeptTurn
    from atlas_mcp.settings import Settings
    from atlas_mcp.watch.seen_spans import Found, Seen

_STEPS: dict[str, StepKind] = {
    "CHAT_MODEL": "model",
    "LLM": "model",
    "TOOL": "tool",
    "MEMORY": "memory",
    "RETRIEVER": "memory",
    "RERANKER": "memory",
    "EMBEDDING": "memory",
}
_BEGINS = frozenset({"turn_started", "turn_retried"})


async def look_at(settings: Settings, run_id: str, *, http: bool = False) -> Look:
    """The run of whoever may start ATLAS on this home, or of the holders of its key. UnknownRun."""
    async with open_history(settings, http=http) as history:
        run, kept = await history.closely(run_id)
    home = open_home(settings.home)
    try:
        roster = load_roster(settings.roster or home.own_roster)
        teams = {agent.name: agent.team or "" for agent in roster.agents}
    except BrokenRoster:
        teams = {}
    traces = {*run.trace_ids, *filter(None, [run.trace_id])}
    found = await anyio.to_thread.run_sync(spans_of, home.path, traces)
    return looked(run, kept, found, teams, datetime.now(UTC))


def looked(run: Run, kept: Kept, found: Found, teams: Mapping[str, str], now: datetime) -> Look:
    """The look, made of what was read."""
    end = run.updated_at if run.status in ENDED else now
    clock = _Clock(run.created_at, end)
    below = _below_turns(found.spans)
    given = contexts(found.spans)
    turns = [_turn(run, one, kept.entered, below.get(one.id, []), given, teams, clock) for one in kept.turns]
    known = {one.turn_id for one in turns}
    turns += [_waiting(run, e, teams, clock) for e in run.events if e.type in _BEGINS and e.turn_id not in known]
    return Look(
        run=run,
        seconds=clock.whole,
        turns=sorted(turns, key=lambda one: (one.start, one.end)),
        asked=[
            Asked(
                by=one.asked_by,
                text=one.text,
                answer=one.answer,
                answered_by=one.answered_by,
                start=clock.at(one.asked_at),
                seconds=clock.at(one.answered_at or end) - clock.at(one.asked_at),
            )
            for one in kept.asked
        ],
        charges=_charges(kept.entered),
        traces=_told(run, found, any(one.traced for one in turns)),
    )


class _Clock:
    """Moments as seconds since the run was asked for."""

    def __init__(self, began: datetime, end: datetime) -> None:
        self._began = began
        self.whole = max(0.0, (end - began).total_seconds())

    def at(self, moment: datetime) -> float:
        return max(0.0, (moment - self._began).total_seconds())

    def at_ns(self, moment: int) -> float:
        return max(0.0, moment / 1e9 - self._began.timestamp())


def _turn(
    run: Run,
    row: KeptTurn,
    entered: Sequence[Entered],
    spans: Sequence[Seen],
    chosen: Mapping[str, Sequence[Seen]],
    teams: Mapping[str, str],
    clock: _Clock,
) -> TurnLook:
    told = [event for event in run.events if event.turn_id == row.id]
    begun = clock.at(row.started_at)
    wanted = min([begun, *(clock.at(e.at) for e in told if e.type in _BEGINS)])
    end = clock.at(row.finished_at) if row.finished_at else clock.whole
    own = [one for one in entered if one.turn == row.id]
    result = row.result
    steps = [_step(span, clock) for span in spans] or _from_journal(told, clock)
    return TurnLook(
        turn_id=row.id,
        agent=row.agent,
        team=teams.get(row.agent, ""),
        doing=next((e.text for e in told if e.type == "turn_started"), ""),
        start=wanted,
        seconds=max(0.0, end - wanted),
        waited=begun - wanted,
        outcome=_outcome(row, run),
        model=(result.model if result else "") or (own[0].model if own else ""),
        usage=result.usage if result else _as_usage(own),
        context=pieces(row.message, spans),
        left_out=left_out(chosen.get(row.agent, ()), row),
        retries=[e.text for e in told if e.type == "turn_retried"],
        steps=steps,
        traced=bool(spans),
        reply=result.reply if result else "",
        memory=[f"{c.label}: {c.operation}" for c in result.memory_changes] if result else [],
        error=row.error,
    )


def _waiting(run: Run, event: Event, teams: Mapping[str, str], clock: _Clock) -> TurnLook:
    """A turn that is told of and was never under way: it waits, or waited until the end."""
    start = clock.at(event.at)
    return TurnLook(
        turn_id=event.turn_id or "",
        agent=event.actor,
        team=teams.get(event.actor, ""),
        doing=event.text,
        start=start,
        seconds=clock.whole - start,
        waited=clock.whole - start,
        outcome="unfinished" if run.status in ENDED else "at work",
    )


def _outcome(row: KeptTurn, run: Run) -> Outcome:
    if row.status in ("done", "failed"):
        return "done" if row.status == "done" else "failed"
    return "unfinished" if run.status in ENDED else "at work"


def _as_usage(own: Iterable[Entered]) -> Usage:
    """What a turn without a result did cost; the ledger does not tell what of its tokens went in."""
    return sum(
        (Usage(turns=one.turns, input_tokens=one.tokens, cost_usd=one.usd) for one in own if one.tokens), Usage()
    )


def _charges(entered: Iterable[Entered]) -> list[Charge]:
    by_model: dict[str, Charge] = {}
    for one in entered:
        had = by_model.get(one.model, Charge(model=one.model, turns=0, tokens=0, usd=None))
        usd = had.usd if one.usd is None else one.usd + (had.usd or 0.0)
        by_model[one.model] = Charge(
            model=one.model, turns=had.turns + one.turns, tokens=had.tokens + one.tokens, usd=usd
        )
    return sorted(by_model.values(), key=lambda one: -(one.usd or 0.0))


def _below_turns(spans: Sequence[Seen]) -> dict[str, list[Seen]]:
    """The spans below each turn's own, by the turn's id."""
    turn_of = {span.span: str(span.attributes["turn_id"]) for span in spans if span.attributes.get("turn_id")}
    parent = {span.span: span.parent for span in spans}
    found: dict[str, list[Seen]] = defaultdict(list)
    for span in spans:
        above, seen = span.parent, {span.span}
        while above and above not in turn_of and above not in seen:
            seen.add(above)
            above = parent.get(above, "")
        if above in turn_of and span.span not in turn_of:
            found[turn_of[above]].append(span)
    return found


def _step(span: Seen, clock: _Clock) -> Step:
    return Step(
        kind=_STEPS.get(span.kind, "other"),
        name=span.name.removeprefix("execute_tool "),
        start=clock.at_ns(span.start),
        seconds=(span.end - span.start) / 1e9,
        ok=span.ok,
        given=span.given,
        gave=span.gave,
        problem="" if span.ok else span.said,
    )


def _from_journal(told: Iterable[Event], clock: _Clock) -> list[Step]:
    called = (event for event in told if event.type == "tool_called")
    return [
        Step(kind="tool", name=str(e.data.get("tool", "")), start=clock.at(e.at), seconds=0.0, given=e.text)
        for e in called
    ]


def _told(run: Run, found: Found, traced: bool) -> str:
    problems = " ".join(f"{one}." for one in found.problems)
    if traced:
        return f"The steps are from {' and '.join(found.places)} of the home.{' ' if problems else ''}{problems}"
    if run.trace_id is None:
        return "No trace was made of it: what happened within turns is as the journal tells it."
    why = problems or "It went to an MLflow elsewhere, was pruned, or holds nothing of the turns."
    return f"The trace {run.trace_id} is not in this home: what happened within turns is as the journal tells it. {why}"
