"""What the record shows of the last DAYS: turns, what they cost, how runs were rated, and who contributed to them.

Numbers and names of agents only: no text of a caller leaves this module. What is read is bounded, a few runs at a time,
and texts are taken apart in a thread, so that nothing waits for it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio.lowlevel
import anyio.to_thread
from sqlalchemy import func, select

from atlas_mcp.model.run import ENDED
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from atlas_mcp.store.record import Record

DAYS = 30
MOST_TURNS = 20_000
MOST_RUNS = 500
_AT_ONCE, _AT_A_TIME = 10, 500
_TURN, _RUN, _LEDGER, _ARTIFACT = tables.turn, tables.run, tables.ledger, tables.artifact


@dataclass(frozen=True)
class Turn:
    """A turn that has ended: `seconds` it took, the `model` as its handle, and what it cost; `usd` may be unknown."""

    agent: str
    run_id: str
    done: bool
    at: datetime
    seconds: float
    model: str = ""
    tokens: int = 0
    usd: float | None = None


@dataclass(frozen=True)
class Work:
    """An assignment in a team task: who had it, in which part, whether it was delivered, and whether any evidence of
    it stands in the run's result."""

    run_id: str
    part: str
    worker: str
    delivered: bool
    cited: bool


@dataclass(frozen=True)
class Rated:
    """A team task that was rated: the mean of its best round."""

    run_id: str
    at: datetime
    quality: float


@dataclass(frozen=True)
class Facts:
    """All of it."""

    turns: tuple[Turn, ...] = ()
    rated: tuple[Rated, ...] = ()
    work: tuple[Work, ...] = ()
    since: datetime = field(default_factory=lambda: datetime.now(UTC) - timedelta(days=DAYS))


async def gather(record: Record, now: datetime) -> Facts:
    """What there is, of all callers, up to `now`."""
    since = now - timedelta(days=DAYS)
    turns = await _turns(record, since)
    rated: list[Rated] = []
    work: list[Work] = []
    runs = await _runs(record, since)
    for start in range(0, len(runs), _AT_ONCE):
        some = runs[start : start + _AT_ONCE]
        results, kept = await _of_runs(record, some)
        more = await anyio.to_thread.run_sync(_taken_apart, results, kept)
        rated += more[0]
        work += more[1]
    return Facts(tuple(turns), tuple(rated), tuple(work), since)


async def _turns(record: Record, since: datetime) -> list[Turn]:
    columns = [_TURN.c[n] for n in ("id", "agent", "run_id", "status", "started_at", "finished_at")]
    ended = _TURN.c.status.in_(("done", "failed")) & _TURN.c.finished_at.is_not(None)
    query = select(*columns).where(_TURN.c.started_at >= since, ended).order_by(_TURN.c.started_at.desc())
    sums = (func.max(_LEDGER.c.model), func.sum(_LEDGER.c.tokens), func.sum(_LEDGER.c.usd))
    cost = select(_LEDGER.c.turn, *sums).where(_LEDGER.c.day >= since.date().isoformat()).group_by(_LEDGER.c.turn)
    async with record.read() as db:
        costs: dict[str, Any] = {row[0]: row async for row in _gently(await db.execute(cost))}
        rows = _gently(await db.execute(query.limit(MOST_TURNS)))
        return [_turn(row, costs.get(row.id, (row.id, "", 0, None))) async for row in rows]


async def _gently(found: Any) -> AsyncGenerator[Any]:
    """The rows, so many at a time that nobody who shares the event loop is held up."""
    for some in found.partitions(_AT_A_TIME):
        for row in some:
            yield row
        await anyio.lowlevel.checkpoint()


def _turn(row: Any, cost: Any) -> Turn:
    _, model, tokens, usd = cost
    seconds = (row.finished_at - row.started_at).total_seconds()
    price = None if usd is None else float(usd)
    return Turn(
        row.agent, row.run_id or "", row.status == "done", row.started_at, seconds, model, int(tokens or 0), price
    )


async def _runs(record: Record, since: datetime) -> list[str]:
    ended = (_RUN.c.kind == "team_task") & _RUN.c.status.in_(ENDED) & (_RUN.c.created_at >= since)
    query = select(_RUN.c.id).where(ended, _RUN.c.result.is_not(None)).order_by(_RUN.c.created_at.desc())
    async with record.read() as db:
        return list((await db.execute(query.limit(MOST_RUNS))).scalars())


async def _of_runs(record: Record, runs: Sequence[str]) -> tuple[list[Any], list[Any]]:
    parts = (_ARTIFACT.c.run_id, _ARTIFACT.c.name, _ARTIFACT.c.text)
    of_parts = _ARTIFACT.c.run_id.in_(runs) & _ARTIFACT.c.name.startswith("part/")
    async with record.read() as db:
        results = await db.execute(select(_RUN.c.id, _RUN.c.created_at, _RUN.c.result).where(_RUN.c.id.in_(runs)))
        return list(results), list(await db.execute(select(*parts).where(of_parts)))


def _taken_apart(results: Iterable[Any], kept: Iterable[Any]) -> tuple[list[Rated], list[Work]]:
    rated: list[Rated] = []
    work: list[Work] = []
    texts: dict[str, dict[str, str]] = {}
    for row in kept:
        texts.setdefault(row.run_id, {})[row.name] = row.text
    for row in results:
        result: dict[str, Any] = row.result or {}
        scores = [r["score"] for r in result.get("ratings", []) if r["round"] == result.get("best_round", 1)]
        if scores:
            rated.append(Rated(row.id, row.created_at, sum(scores) / len(scores)))
        work += _work(row.id, result, texts.get(row.id, {}))
    return rated, work


def _work(run_id: str, result: dict[str, Any], texts: dict[str, str]) -> list[Work]:
    cited = {_evidence(one) for one in result.get("evidence", [])}
    found: list[Work] = []
    for name, text in texts.items():
        part, _, last = name.rpartition("/")
        if last != "delegation":
            continue
        for number, assignment in enumerate(_read(text).get("assignments", [])):
            report = texts.get(f"{part}/{number}")
            own = {_evidence(one) for one in _read(report or "{}").get("evidence", [])}
            found.append(Work(run_id, part, str(assignment.get("worker", "")), report is not None, bool(own & cited)))
    return found


def _evidence(one: dict[str, Any]) -> tuple[str, str]:
    return str(one.get("source", "")), " ".join(str(one.get("quote", "")).split())


def _read(text: str) -> dict[str, Any]:
    try:
        held = json.loads(text)
    except ValueError:
        return {}
    return held if isinstance(held, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON has string keys
