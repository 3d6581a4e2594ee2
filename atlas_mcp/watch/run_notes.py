"""A run that has ended, as MLflow is told of it: one run of MLflow for the task, and below it one for each agent.

An agent's turns are the steps of its run: so MLflow's table shows the task with its agents under it, and its charts
compare agents and show how one went from turn to turn. A run of MLflow for each turn would say the same in hundreds of
rows; what happened within a turn is in its trace, which both runs link to.

`parallel_efficiency` is the seconds that all turns took together, divided by the seconds in which any turn went on,
divided by the most that went on at once: 1.0 when all worked all the time.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, or_, select, text, update

from atlas_mcp.model.result import Result
from atlas_mcp.model.run import ENDED
from atlas_mcp.store.tables import UNTOLD, event, ledger, run, turn
from atlas_mcp.watch.alerts.tasks import mean_rating
from atlas_mcp.watch.calls import hashed_caller
from atlas_mcp.watch.notes import RunNote, Step

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TeamOf = Callable[[str], str]

_NAME = 120
_FAILED = frozenset({"turn_failed", "worker_failed"})


@dataclass(frozen=True, slots=True)
class Worked:
    """One turn of a run: who took it, when, and what it cost; dollars are None where the price is not known."""

    agent: str
    model: str
    failed: bool
    began: datetime
    ended: datetime
    tokens: int
    usd: float | None
    trace_id: str | None

    @property
    def seconds(self) -> float:
        """How long it took."""
        return max(0.0, (self.ended - self.began).total_seconds())


async def run_notes(db: AsyncConnection, run_id: str, team_of: TeamOf) -> list[RunNote]:
    """The notes on the run, the task's before its agents'; none if it is gone."""
    row: Any = (await db.execute(select(run).where(run.c.id == run_id))).one_or_none()
    if row is None:
        return []
    turns = await _turns(db, row)
    query = select(event).where(event.c.run_id == run_id).order_by(event.c.seq)
    events: list[Any] = list(await db.execute(query))
    task = _task(row, turns, events, team_of)
    agents = list(dict.fromkeys(one.agent for one in turns))
    return [task, *(_agent(task, agent, [t for t in turns if t.agent == agent], team_of(agent)) for agent in agents)]


async def _turns(db: AsyncConnection, row: Any) -> list[Worked]:
    costs = select(ledger.c.turn, func.sum(ledger.c.tokens), func.sum(ledger.c.usd), func.max(ledger.c.model))
    spent: dict[str, Any] = {c[0]: c for c in await db.execute(costs.where(ledger.c.run_id == row.id).group_by("turn"))}
    found = await db.execute(select(turn).where(turn.c.run_id == row.id).order_by(turn.c.started_at))
    return [
        Worked(
            agent=one.agent,
            model=_json(one.result).get("model") or entry[3] or "",
            failed=one.status == "failed",
            began=one.started_at,
            ended=one.finished_at or row.updated_at,
            tokens=max(0, int(entry[1] or 0)),
            usd=None if entry[2] is None else max(0.0, float(entry[2])),
            trace_id=one.trace_id,
        )
        for one in found
        for entry in [spent.get(one.id, (one.id, 0, None, None))]
    ]


def _task(row: Any, turns: Sequence[Worked], events: Sequence[Any], team_of: TeamOf) -> RunNote:
    result = Result.model_validate(row.result) if row.result else None
    traces: list[str | None] = [*(row.trace_ids or ()), row.trace_id, *(one.trace_id for one in turns)]
    return RunNote(
        key=row.id,
        name=_in_a_line(row.goal),
        status=row.status,
        started_ms=_ms(row.created_at),
        ended_ms=_ms(row.updated_at),
        params=_params(row, turns, team_of),
        metrics=_metrics(row, turns, events, result),
        steps=_by_round(result) if result else [],
        tags={
            "atlas.run_id": row.id,
            "atlas.kind": row.kind,
            "atlas.status": row.status,
            **({"atlas.error": row.error} if row.error else {}),
            **({"atlas.stopped": result.stopped} if result and result.stopped else {}),
        },
        artifacts=_artifacts(row, events, result),
        trace_ids=list(dict.fromkeys(trace for trace in traces if trace)),
        user=hashed_caller(row.caller),
    )


def _params(row: Any, turns: Sequence[Worked], team_of: TeamOf) -> dict[str, str]:
    given, plan = _json(_json(row.input).get("input")), _json(row.plan)
    asked: list[str] = given.get("teams") or [part["team"] for part in plan.get("parts", ())]
    worked = [team for team in (team_of(one.agent) for one in turns) if team]
    budget = {f"budget.{name}": value for name, value in _json(row.budget).items() if value is not None}
    known: dict[str, Any] = {
        "goal": row.goal,
        "kind": row.kind,
        "teams": ", ".join(dict.fromkeys([*asked, *worked])),
        "models": ", ".join(sorted({one.model for one in turns if one.model})),
        "mode": plan.get("mode"),
        "project": given.get("project"),
        "criteria": "; ".join(given.get("criteria") or ()),
        "max_rounds": given.get("max_rounds"),
        "materials": len(given.get("materials") or ()),
        **budget,
    }
    return {name: str(value) for name, value in known.items() if value not in (None, "")}


def _metrics(row: Any, turns: Sequence[Worked], events: Sequence[Any], result: Result | None) -> dict[str, float]:
    used = _json(row.usage)
    found: dict[str, float | None] = {
        "seconds": max(0.0, (row.updated_at - row.created_at).total_seconds()),
        "turns": used.get("turns", 0),
        "tokens": used.get("input_tokens", 0) + used.get("output_tokens", 0),
        "input_tokens": used.get("input_tokens", 0),
        "output_tokens": used.get("output_tokens", 0),
        "cost_usd": used.get("cost_usd"),
        "agents": len({one.agent for one in turns}),
        "errors": sum(one.type in _FAILED for one in events),
        "retries": sum(one.type == "turn_retried" for one in events),
        "escalations": sum(one.type == "escalated" for one in events),
        "attempts": row.attempts,
        "parallel_efficiency": parallel_efficiency([(one.began, one.ended) for one in turns]),
    }
    if result is not None:
        found |= {"rounds": result.rounds, "best_rating": mean_rating(result)}
        found |= {"passed": float(result.passed), "missing": len(result.missing)} if row.kind == "team_task" else {}
    return {name: float(value) for name, value in found.items() if value is not None}


def parallel_efficiency(stretches: Sequence[tuple[datetime, datetime]]) -> float | None:
    """See the module; None where nothing took any time."""
    moments = sorted([(began, 1) for began, _ in stretches] + [(max(began, ended), -1) for began, ended in stretches])
    at_once, most, busy, together = 0, 0, 0.0, 0.0
    for (moment, change), (following, _) in pairwise(moments):
        at_once += change
        length = (following - moment).total_seconds()
        if length > 0:
            most = max(most, at_once)
            together += at_once * length
            busy += length if at_once else 0.0
    return together / busy / most if busy and most else None


def _by_round(result: Result) -> list[Step]:
    rounds = sorted({*(one.round for one in result.ratings), *(one.round for one in result.compared)})
    compared = {one.round: one for one in result.compared}
    found: list[Step] = []
    for number in rounds:
        one = compared.get(number)
        mean = one.mean if one and one.mean is not None else _mean(result, number)
        found += [Step(name="rating", step=number, value=mean)] if mean is not None else []
        found += [Step(name="checks_failed", step=number, value=one.checks_failed)] if one else []
    return found


def _mean(result: Result, number: int) -> float | None:
    """The mean of the criteria's means, of that round."""
    scores: dict[str, list[float]] = {}
    for one in result.ratings:
        if one.round == number:
            scores.setdefault(one.criterion, []).append(one.score)
    means = [sum(given) / len(given) for given in scores.values()]
    return sum(means) / len(means) if means else None


def _artifacts(row: Any, events: Sequence[Any], result: Result | None) -> dict[str, str]:
    journal = "".join(f"{one.seq}\t{one.at:%Y-%m-%d %H:%M:%S}\t{one.actor}\t{one.type}\t{one.text}\n" for one in events)
    texts = {
        "plan.json": json.dumps(row.plan, indent=2, ensure_ascii=False) if row.plan else "",
        "result.md": (result.output if result else row.reply) or "",
        "result.json": json.dumps(row.result, indent=2, ensure_ascii=False) if row.result else "",
        "journal.tsv": journal,
    }
    return {name: written for name, written in texts.items() if written}


def _agent(task: RunNote, agent: str, turns: Sequence[Worked], team: str) -> RunNote:
    prices = [one.usd for one in turns if one.usd is not None]
    metrics: dict[str, float] = {
        "turns": len(turns),
        "errors": sum(one.failed for one in turns),
        "tokens": sum(one.tokens for one in turns),
        "seconds": sum(one.seconds for one in turns),
    }
    steps = [Step(name="turn_seconds", step=n, value=one.seconds) for n, one in enumerate(turns, 1)]
    steps += [Step(name="turn_tokens", step=n, value=one.tokens) for n, one in enumerate(turns, 1)]
    models = ", ".join(sorted({one.model for one in turns if one.model}))
    return RunNote(
        key=f"{task.key}/{agent}",
        name=agent,
        parent=task.key,
        status="failed" if turns[-1].failed else "completed",
        started_ms=_ms(turns[0].began),
        ended_ms=max(_ms(one.ended) for one in turns),
        params={name: said for name, said in (("agent", agent), ("team", team), ("models", models)) if said},
        metrics={**metrics, **({"cost_usd": sum(prices)} if prices else {})},
        steps=steps,
        tags={"atlas.run_id": task.key, "atlas.kind": "agent", "atlas.agent": agent, "atlas.team": team},
        trace_ids=list(dict.fromkeys(one.trace_id for one in turns if one.trace_id)),
        user=task.user,
    )


def _json(value: Any) -> dict[str, Any]:
    return value or {}


def _ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000)


def _in_a_line(said: str) -> str:
    line = " ".join(said.split())
    return line if len(line) <= _NAME else f"{line[: _NAME - 1]}…"


async def untold(db: AsyncConnection, executor: str, before: datetime, most: int) -> list[tuple[str, str]]:
    """Runs that have ended and that MLflow was not told of, with their callers: those of that executor, and those of
    others that ended before the moment, the oldest first."""
    ended = and_(text(UNTOLD), run.c.status.in_(sorted(ENDED)))
    ours = or_(run.c.executor == executor, run.c.updated_at < before)
    rows: list[Any] = list(
        await db.execute(select(run.c.id, run.c.caller).where(ended, ours).order_by(run.c.updated_at).limit(most))
    )
    return [(row.id, row.caller) for row in rows]


async def mark_told(db: AsyncConnection, run_id: str, at: datetime) -> None:
    """MLflow is not to be told of it again."""
    await db.execute(update(run).where(run.c.id == run_id).values(told_at=at))
