"""One run, or one turn of it, for whoever wants to know why it went as it did: as parts to be shown, and as JSON.

It begins as the report of `runs show` does; what that tells of the plan, the ratings and what is missing is the same.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atlas_mcp.cli.debug_times import by_agent, critical, on_the_path
from atlas_mcp.cli.report import Grid, Prose, Report, Section, report, took

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from atlas_mcp.cli.debug_times import Share
    from atlas_mcp.model.look import Look, Piece, Step, TurnLook
    from atlas_mcp.model.run import Event
    from atlas_mcp.model.usage import Usage

SHORT = 300
"""Characters of a text where a whole run is shown; one turn is shown in full."""
_SHARED_BEFORE = ("At a glance", "The plan")
_SHARED_AFTER = (
    "Ratings by round",
    "The ratings' reasons",
    "What was looked up in the text",
    "What is missing, and why",
)
_IN_TURNS = frozenset({"turn_started", "turn_finished", "turn_retried", "tool_called"})


def before(look: Look, now: datetime) -> Report:
    """What stands before the bars."""
    return _some_of(look, now, _SHARED_BEFORE)


def after(look: Look, now: datetime) -> Report:
    """What stands after the bars: where time and money went, what happened, how it was rated."""
    own = [
        Section("Where the time went", Grid(_time(look), ("kind", "time", "share"))),
        Section("By agent", Grid(_agents(by_agent(look.turns)), _AGENT_COLUMNS, whole=1)),
        Section("Where the money went", Grid(_money(look), ("model", "turns", "tokens", "dollars"))),
        Section("What happened", Grid(tuple(_happened(look)), ("after", "who, or what", ""), whole=2)),
    ]
    return Report("", look.run.run_id, look.run.status, (*own, *_some_of(look, now, _SHARED_AFTER).sections))


def turn_report(look: Look, turn: TurnLook) -> Report:
    """One turn in full: what it was given, each of its steps, and what came of it."""
    facts = [
        ("turn", turn.turn_id),
        ("agent", f"{turn.agent} ({turn.team})" if turn.team else turn.agent),
        ("of run", look.run.run_id),
        ("did", turn.doing),
        ("began", f"{took(turn.start)} after the run was asked for"),
        ("took", f"{took(turn.seconds)}, of which {took(turn.waited)} before it was under way"),
        ("ended", turn.outcome),
        ("model", turn.model),
        ("cost", cost(turn.usage)),
        ("went wrong", turn.error),
        ("left out of its context", _omitted(turn)),
        ("memory changed", "; ".join(turn.memory)),
        ("steps from", "its trace" if turn.traced else "the journal: no trace of it is here"),
    ]
    sections = [Section("The turn", Grid(tuple((name, text) for name, text in facts if text)))]
    sections += [_piece(piece) for piece in turn.context]
    sections += [Section("Tried again", Grid(tuple((text,) for text in turn.retries), ("why",)))] * bool(turn.retries)
    shown = [step for step in turn.steps if step.kind != "other"]
    sections += [_whole(number, step) for number, step in enumerate(shown, 1)]
    sections += [Section("The reply", Prose(turn.reply))] * bool(turn.reply)
    return Report(f"{turn.agent}: {look.run.goal}", look.run.run_id, look.run.status, tuple(sections))


def as_json(look: Look, turn: TurnLook | None) -> dict[str, Any]:
    """The same as plain JSON, with whole texts."""
    if turn is not None:
        return {"run_id": look.run.run_id, "turn": turn.model_dump(mode="json"), "traces": look.traces}
    path = critical(look.turns, look.seconds)
    return {
        **look.model_dump(mode="json"),
        "critical_path": [one.turn_id for one in path],
        "seconds_by_kind": on_the_path(look, path),
        "by_agent": [
            {
                "agent": one.agent,
                "turns": one.turns,
                "seconds": one.seconds,
                "seconds_by_kind": one.by_kind,
                "usage": one.usage.model_dump(mode="json"),
            }
            for one in by_agent(look.turns)
        ],
    }


def cost(usage: Usage) -> str:
    """Tokens and dollars, as far as they are known."""
    dollars = "" if usage.cost_usd is None else f", ${usage.cost_usd:.4f}"
    return f"{usage.input_tokens:,} tokens in, {usage.output_tokens:,} out{dollars}" if usage.turns else ""


def _some_of(look: Look, now: datetime, titles: Sequence[str]) -> Report:
    told = report(look.run, now)
    return Report(told.title, told.run_id, told.status, tuple(one for one in told.sections if one.title in titles))


def _time(look: Look) -> tuple[tuple[str, ...], ...]:
    spent = on_the_path(look, critical(look.turns, look.seconds))
    rows = [(kind, took(seconds), _share(seconds, look.seconds)) for kind, seconds in spent.items()]
    return (*rows, ("the whole run", took(look.seconds), ""))


_AGENT_COLUMNS = ("agent", "turns", "time", "model", "tools", "waited", "tokens", "dollars")


def _agents(shares: Iterable[Share]) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (
            one.agent,
            str(one.turns),
            took(one.seconds),
            *(_known(one, kind) for kind in ("model", "tools", "waiting to begin")),
            f"{one.usage.input_tokens + one.usage.output_tokens:,}",
            "unknown" if one.usage.cost_usd is None else f"{one.usage.cost_usd:.4f}",
        )
        for one in shares
    )


def _known(share: Share, kind: Any) -> str:
    seconds = share.by_kind.get(kind)
    return "" if seconds is None else took(seconds)


def _money(look: Look) -> tuple[tuple[str, ...], ...]:
    return tuple(
        (one.model, str(one.turns), f"{one.tokens:,}", "of unknown price" if one.usd is None else f"{one.usd:.4f}")
        for one in look.charges
    ) or (("none", "0", "0", "0"),)


def _happened(look: Look) -> Iterable[tuple[str, ...]]:
    """Events and turns in the order they began; under each turn its context, its steps and its reply."""
    began = look.run.created_at
    events = [((e.at - began).total_seconds(), _event(e)) for e in look.run.events if e.type not in _IN_TURNS]
    turns = [(turn.start, _turn_rows(number, turn)) for number, turn in enumerate(look.turns, 1)]
    for seconds, rows in sorted([*events, *turns], key=lambda one: one[0]):
        for first, row in enumerate(rows):
            yield ("" if first else took(max(0.0, seconds)), *row)


def _event(event: Event) -> list[tuple[str, ...]]:
    return [(event.actor, f"{event.type}: {short(event.text)}")]


def _turn_rows(number: int, turn: TurnLook) -> list[tuple[str, ...]]:
    head = f"turn {number}: {short(turn.doing or turn.agent)} ({turn.outcome}, {took(turn.seconds)})"
    rows = [(turn.agent, head), ("  given", _given(turn))]
    rows += [("  tried again", short(text)) for text in turn.retries]
    rows += [(f"  {_named(step)}", _in_short(step)) for step in turn.steps if step.kind != "other"]
    said = next((_spoken(step)[0] for step in reversed(turn.steps) if step.kind == "model"), "")
    reply = "" if said and said == turn.reply else short(turn.reply)
    ended = [("memory", "; ".join(turn.memory)), ("failed", short(turn.error)), ("reply", reply)]
    return rows + [(f"  {what}", text) for what, text in ended if text]


def _given(turn: TurnLook) -> str:
    pieces = ", ".join(f"{_title(one)} from {one.source} ({len(one.text):,})" for one in turn.context)
    left = _omitted(turn)
    return f"{pieces}; characters in brackets{f'; left out: {left}' if left else ''}"


def _title(piece: Piece) -> str:
    return f"{piece.tag} {piece.name}" if piece.name else piece.tag


def _omitted(turn: TurnLook) -> str:
    if turn.left_out is None:
        return ""
    told = (f"{one.items} of {one.section} ({one.why}, {one.tokens:,} tokens)" for one in turn.left_out)
    return ", ".join(told) or "nothing"


def _named(step: Step) -> str:
    return f"{step.kind} {'' if step.ok else 'failed '}({took(step.seconds)})" if step.seconds else step.kind


def _in_short(step: Step) -> str:
    if step.kind == "model":  # it is given the whole context again, and its calls follow as steps of their own
        text, calls = _spoken(step)
        called = f"calls {', '.join(calls)}" if calls else ""
        return "; ".join(part for part in (short(step.problem), called, short(text)) if part)
    said = step.problem or step.gave
    return f"{step.name} {short(step.given)}{f' → {short(said)}' if said else ''}"


def _spoken(step: Step) -> tuple[str, list[str]]:
    """What the model said in that step, and the names of the tools that it called."""
    try:
        held: Any = json.loads(step.gave)
        content: Any = held["content"]
        calls = [str(call["name"]) for call in held.get("tool_calls", [])]
    except (ValueError, TypeError, KeyError, AttributeError):
        return step.gave, []
    return content if isinstance(content, str) else json.dumps(content, ensure_ascii=False), calls


def _piece(piece: Piece) -> Section:
    return Section(f"Given: {_title(piece)}, from {piece.source}", Prose(piece.text))


def _whole(number: int, step: Step) -> Section:
    state = "" if step.ok else f", failed: {short(step.problem)}"
    title = f"Step {number}: {step.kind} {step.name}, {took(step.seconds)}{state}"
    said, calls = _spoken(step) if step.kind == "model" else (step.gave, [])
    given = "" if step.kind == "model" else step.given  # all that stands above, and the answers of the tools since
    parts = [given, f"calls {', '.join(calls)}" if calls else "", said]
    return Section(title, Prose("\n→ ".join(part for part in parts if part) or "(nothing)"))


def _share(seconds: float, whole: float) -> str:
    return f"{seconds / whole:.0%}" if whole else ""


def short(text: str) -> str:
    """The text as one line of at most SHORT characters."""
    line = " ".join(text.split())
    return line if len(line) <= SHORT else f"{line[: SHORT - 1]}…"
