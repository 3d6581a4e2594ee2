"""A run as a report to read: what was asked, who did what when, how it was rated, what came of it, what is missing.

Made of the run alone, with its whole journal, so that a finished run can be replayed years later. It says what is to
be shown and nothing about how: `report_text` and `report_html` show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from atlas_mcp.cli.plot import Plot
from atlas_mcp.cli.turns_done import Bar, bars
from atlas_mcp.model.result import PASS_MARK
from atlas_mcp.model.run import ENDED
from atlas_mcp.server.narration import in_a_line, spent

if TYPE_CHECKING:
    from datetime import datetime

    from atlas_mcp.model.plan import Plan
    from atlas_mcp.model.result import Result
    from atlas_mcp.model.run import Event, Run

LEARNING = frozenset({"recalled", "learned", "remembered"})
LONGEST_CELL = 1_000


@dataclass(frozen=True)
class Grid:
    """Rows of texts under column names; without names, each row is a thing and what is to be said of it. The texts of
    the first `whole` columns are better not folded."""

    rows: tuple[tuple[str, ...], ...]
    columns: tuple[str, ...] = ()
    whole: int = 0


@dataclass(frozen=True)
class Chart:
    """Who worked when, within so many seconds."""

    bars: tuple[Bar, ...]
    seconds: float


@dataclass(frozen=True)
class Prose:
    """A text as it was written."""

    text: str


@dataclass(frozen=True)
class Section:
    """A part of the report."""

    title: str
    body: Grid | Chart | Prose | Plot


@dataclass(frozen=True)
class Report:
    """The whole report: what was asked for, the state it is in, and its parts."""

    title: str
    run_id: str
    status: str
    sections: tuple[Section, ...]


def report(run: Run, now: datetime) -> Report:
    """The report on the run with all its events, as it stands `now`."""
    end = run.updated_at if run.status in ENDED else now
    found = [
        Section("At a glance", Grid(_facts(run, end))),
        _grid("The plan", ("part", "team", "task", "after"), _parts(run.plan)),
        *_worked(run, end),
        *(_of_result(run.result) if run.result else ()),
        *([Section("The reply", Prose(run.reply))] if run.reply else ()),
        _grid("What was learned", ("who", "what"), _learned(run)),
        _grid("The journal", ("no.", "after", "who", "what", "text"), _journal(run)),
    ]
    return Report(run.goal, run.run_id, run.status, tuple(section for section in found if section))


def took(seconds: float) -> str:
    """A length of time for people."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def cost(run: Run) -> str:
    """What the run has cost, in turns, tokens and dollars."""
    used = run.usage
    tokens = f"{used.input_tokens:,} tokens in, {used.output_tokens:,} out"
    dollars = f"${used.cost_usd:.4f}" if used.cost_usd is not None else "of unknown price"
    return f"{used.turns} turns, {tokens}, {dollars}"


def _facts(run: Run, end: datetime) -> tuple[tuple[str, str], ...]:
    result, asked = run.result, run.question
    verdict = "" if result is None else "passed" if result.passed else "did not pass"
    facts = [
        ("run", run.run_id),
        ("status", run.status),
        ("asked", f"{run.created_at:%Y-%m-%d %H:%M:%S} UTC"),
        ("took", took((end - run.created_at).total_seconds())),
        ("cost", cost(run)),
        ("rating", f"{verdict}: round {result.best_round} of {result.rounds} is the best" if result else ""),
        ("agreement", f"{result.agreement:.0%}" if result and result.agreement is not None else ""),
        ("ended early", (result.stopped if result else None) or ""),
        ("went wrong", run.error or ""),
        (
            "asks",
            f"{asked.text} (safe choice: {asked.safe}, taken at {asked.deadline:%Y-%m-%d %H:%M} UTC)" if asked else "",
        ),
        ("to know", " ".join([*([run.note] if run.note else []), *(result.notes if result else [])])),
        ("trace", run.trace_id or ""),
    ]
    return tuple((name, text) for name, text in facts if text)


def _parts(plan: Plan | None) -> list[tuple[str, ...]]:
    if plan is None:
        return []
    parts = [(p.id, p.team, _cell(p.task), ", ".join(p.depends_on)) for p in plan.parts]
    return parts + [("lacks", lack.what, _cell(f"{lack.why}. {lack.how_to_add}"), "") for lack in plan.lacks]


def _worked(run: Run, end: datetime) -> list[Section]:
    found = bars(run, end)
    if not found:
        return []
    return [Section("Who did what, when", Chart(found, (end - run.created_at).total_seconds()))]


def _of_result(result: Result) -> list[Section | None]:
    missing = [(m.agent, m.what, _cell(m.why)) for m in result.missing]
    missing += [("criterion", text, f"below {PASS_MARK} in the best round") for text in result.unmet]
    whose = "raters" if result.agreement is None else "sides or raters"
    missing += [(whose, "disagree", _cell(text)) for text in result.disagreements]
    reasons = [
        (str(r.round), _cell(r.criterion), r.rater, f"{r.score:.1f}", _cell(r.reason), _cell(r.quote))
        for r in sorted(result.ratings, key=lambda r: (r.round, r.criterion, r.score))
    ]
    checks = [(c.name, "right" if c.passed else "wrong", _cell(c.text)) for c in result.checks]
    evidence = [(e.source, _cell(e.claim), _cell(e.quote)) for e in result.evidence]
    learned = [(one.kind, _cell(one.text), one.audience, _cell(one.source)) for one in result.learned]
    return [
        _grid("Ratings by round", *_rounds(result)),
        _grid("The ratings' reasons", ("round", "criterion", "rater", "score", "reason", "of"), reasons),
        _grid("What was looked up in the text", ("what", "came out", "how"), checks),
        _grid("What is missing, and why", ("who", "what", "why"), missing),
        Section("The result", Prose(result.output)),
        _grid("The evidence", ("source", "what is claimed", "the source's words"), evidence),
        _grid("What is remembered of it", ("kind", "what", "for", "from"), learned),
    ]


def _rounds(result: Result) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Each criterion's mean in each round, and what had been changed for it."""
    numbers = sorted({r.round for r in result.ratings})
    given: dict[tuple[str, int], list[float]] = {}
    for r in result.ratings:
        given.setdefault((r.criterion, r.round), []).append(r.score)
    rows = [
        (_cell(criterion), *(_mean(given.get((criterion, number), ())) for number in numbers))
        for criterion in dict.fromkeys(r.criterion for r in result.ratings)
    ]
    compared = {one.round: one for one in result.compared}
    if any(number in compared for number in numbers):
        rounds = [compared.get(number) for number in numbers]
        rows += [
            ("checks that failed", *(str(one.checks_failed) if one else "" for one in rounds)),
            ("what was changed", *(_cell(one.changed) if one else "" for one in rounds)),
        ]
    best = [f"round {number}" + (" (best)" if number == result.best_round else "") for number in numbers]
    return ("criterion", *best), rows


def _mean(scores: Sequence[float]) -> str:
    return f"{sum(scores) / len(scores):.2f}" if scores else "none"


def _learned(run: Run) -> list[tuple[str, ...]]:
    kept = run.result.learned if run.result else ()
    told = [(e.actor, _cell(e.text)) for e in run.events if e.type in LEARNING - ({"learned"} if kept else set())]
    return told + [(one.agent, _cell(f"{one.text} ({one.source}; {one.score:.1f} of 5)")) for one in kept]


def _journal(run: Run) -> list[tuple[str, ...]]:
    number = {e.seq: f"{e.seq} (of {e.cause})" if e.cause else str(e.seq) for e in run.events}
    return [(number[e.seq], _after(run, e), e.actor, e.type, in_a_line(e.text)) for e in run.events]


def _after(run: Run, event: Event) -> str:
    return took(max(0.0, (event.at - run.created_at).total_seconds()))


def _grid(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Section | None:
    return Section(title, Grid(tuple(rows), columns)) if rows else None


def _cell(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_CELL else f"{line[: LONGEST_CELL - 1]}…"


def plain(text: str) -> str:
    """The text without characters that steer a terminal, or hide in a page what it says; lines and words stay."""
    kept = (c if c.isprintable() or c in "\n\t" else " " if c.isspace() else "" for c in text if c not in _TURNING)
    return "".join(kept)


_TURNING = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def listed(runs: Sequence[Run], now: datetime) -> Grid:
    """Runs, one a line."""
    rows = tuple(
        (
            run.run_id,
            run.status,
            f"{run.created_at:%Y-%m-%d %H:%M}",
            took(((run.updated_at if run.status in ENDED else now) - run.created_at).total_seconds()),
            spent(run.usage),
            in_a_line(run.goal),
        )
        for run in runs
    )
    return Grid(rows, ("run", "status", "asked (UTC)", "took", "cost", "goal"))
