"""The state of the house as a report: which parts it has, in what order, and what their figures are called."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.cli.plot import Plot
from atlas_mcp.cli.report import Grid, Report, Section, took
from atlas_mcp.server.narration import in_a_line

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.alert import Alert
    from atlas_mcp.model.house_state import AgentLine, HouseState, ModelLine, Series, TaskLine

_FIGURES = {
    "active_agents": ("Agents at work", ""),
    "runs_waiting": ("Runs that wait", ""),
    "runs_at_work": ("Runs at work", ""),
    "error_rate": ("Turns of the last hour that failed", "share"),
    "turn_seconds_median": ("A turn's time: the median of the last hour", "s"),
    "turn_seconds_p95": ("A turn's time: what 95 of 100 did not exceed", "s"),
    "processor_share": ("Processor, in cores", ""),
    "memory_bytes": ("Memory of the processes", "MB"),
    "database_connections": ("Connections to the record", ""),
    "cache_hit_share": ("Cache hits", "share"),
}


def state_report(state: HouseState) -> Report:
    """The report on that state."""
    days = (state.until - state.since).total_seconds() / 86_400
    length = f"{days:.0f} days" if days > 1.5 else "day" if days == 1 else took(days * 86_400)
    title = f"ATLAS: the last {length}, until {state.until:%Y-%m-%d %H:%M} UTC"
    grids = [
        Section("At a glance", Grid(_glance(state))),
        _grid("Runs", ("kind", "status", "runs"), [(r.kind, r.status, f"{r.runs:,}") for r in state.runs]),
        _grid(_tasks_title(state), ("run", "status", "asked (UTC)", "took", "turns", "cost", "rating", "goal"),
              [_task(one) for one in state.tasks]),
        _grid("Agents", ("agent", "turns", "failed", "median", "95 %", "tokens", "cost"), [*map(_agent, state.agents)]),
        _grid("Models", ("model", "turns", "tokens", "cost"), [*map(_model, state.models)]),
        _grid("Alerts", ("raised (UTC)", "over", "rule", "what", "run", "trace"), [*map(_alert, state.alerts)]),
        _grid("Memory", ("what", "there are", "new"),
              [(one.what, f"{one.total:,}", "" if one.new is None else f"{one.new:,}") for one in state.memory]),
    ]  # fmt: skip
    plots = [_plot(state, one) for one in _ordered(state.health)]
    return Report(title, "ATLAS", f"the last {length}", tuple(one for one in (*grids, *plots) if one is not None))


def _glance(state: HouseState) -> tuple[tuple[str, str], ...]:
    turns, failed = sum(one.turns for one in state.agents), sum(one.failed for one in state.agents)
    runs = sum(one.runs for one in state.runs)
    unpriced = sum(one.unpriced_tokens for one in state.models)
    cost = f"${sum(one.usd for one in state.models):,.4f}" + (
        f", and {unpriced:,} tokens of unknown price" if unpriced else ""
    )
    standing = sum(one.cleared_at is None for one in state.alerts)
    rated = [one.rating for one in state.tasks if one.rating is not None]
    facts = [
        ("runs", f"{runs:,}"),
        ("turns", f"{turns:,}, failed: {failed:,}"),
        ("cost", cost),
        (
            "mean rating",
            f"{sum(rated) / len(rated):.2f} of 5 (tasks rated: {len(rated)})" if rated else "no task was rated",
        ),
        ("alerts", f"{len(state.alerts)}, standing now: {standing}"),
        ("the record", f"{state.record_bytes / (1 << 20):,.1f} MB"),
    ]
    return tuple(facts)


def _tasks_title(state: HouseState) -> str:
    return (
        f"Team tasks: the newest {len(state.tasks)}, and {state.more_tasks} more" if state.more_tasks else "Team tasks"
    )


def _task(one: TaskLine) -> tuple[str, ...]:
    verdict = "" if one.rating is None else f"{one.rating:.2f}{'' if one.passed else ', did not pass'}"
    asked = f"{one.asked_at:%Y-%m-%d %H:%M}"
    goal = in_a_line(one.goal) if one.goal is not None else "(of another caller)"
    return one.run_id, one.status, asked, took(one.seconds), f"{one.turns:,}", f"${one.usd:,.4f}", verdict, goal


def _agent(one: AgentLine) -> tuple[str, ...]:
    median, p95 = (took(value) if value is not None else "" for value in (one.median, one.p95))
    return one.agent, f"{one.turns:,}", f"{one.failed:,}", median, p95, f"{one.tokens:,}", _cost(one)


def _model(one: ModelLine) -> tuple[str, ...]:
    return one.model, f"{one.turns:,}", f"{one.tokens:,}", _cost(one)


def _cost(one: AgentLine | ModelLine) -> str:
    if not one.unpriced_tokens:
        return f"${one.usd:,.4f}"
    return "unknown" if one.unpriced_tokens == one.tokens else f"${one.usd:,.4f} and more"


def _alert(one: Alert) -> tuple[str, ...]:
    over = f"{one.cleared_at:%m-%d %H:%M}" if one.cleared_at else "stands"
    raised = f"{one.raised_at:%m-%d %H:%M}"
    return raised, over, one.rule, in_a_line(one.text), one.run_id or "", one.trace_id or ""


def _ordered(health: Sequence[Series]) -> list[Series]:
    known = list(_FIGURES)
    return sorted(health, key=lambda one: known.index(one.name) if one.name in known else len(known))


def _plot(state: HouseState, series: Series) -> Section:
    title, unit = _FIGURES.get(series.name, (series.name.replace("_", " "), ""))
    scale = 1 / (1 << 20) if unit == "MB" else 1.0
    points = tuple((point.at, point.value * scale) for point in series.points)
    return Section(title, Plot(state.since, state.until, points, unit))


def _grid(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> Section | None:
    return Section(title, Grid(tuple(rows), columns)) if rows else None
