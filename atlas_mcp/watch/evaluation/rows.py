"""The record's rows of examples: made of runs that ended well, listed, taken out, brought from a file. One caller's."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError
from sqlalchemy import delete, func, insert, select

from atlas_mcp.errors import InvalidInput, UnknownRun
from atlas_mcp.model.example import Baseline, Example, Expected, Work
from atlas_mcp.model.rating import TEXT_CRITERIA
from atlas_mcp.model.result import Result
from atlas_mcp.model.usage import Usage
from atlas_mcp.store import tables
from atlas_mcp.store.quality_tables import example
from atlas_mcp.watch.evaluation.scoring import criteria_means

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

WRITER = "examples"
"""Who writes these rows, for `Record.write`."""

_TASK = ("goal", "materials", "teams", "criteria", "max_rounds", "mode")


async def from_run(db: AsyncConnection, caller: str, run_id: str, suite: str, expected: Expected) -> Example:
    """The example that the caller's run makes; nothing is stored yet.

    UnknownRun; InvalidInput for a run that is no team task and no turn, that has not ended or did not end well, and for
    an expected source that is none of its materials.
    """
    run = tables.run
    columns = (run.c[name] for name in ("kind", "status", "input", "result", "usage", "created_at", "updated_at"))
    query = select(*columns).where(run.c.id == run_id, run.c.caller == caller)
    row: Any = (await db.execute(query)).one_or_none()
    if row is None:
        raise UnknownRun(run_id)
    if row.kind not in {"team_task", "turn"}:
        raise InvalidInput(f"run {run_id} is a {row.kind}: examples are made of team tasks and turns.", argument="RUN")
    if row.status != "completed":
        raise InvalidInput(
            f"run {run_id} is {row.status}: what it should come to is not known.",
            argument="RUN",
            next_step="Take a run that is completed: atlas-mcp runs list --status completed",
        )
    result = Result.model_validate(row.result) if row.result else None
    work = _work(row.kind, row.input["input"])
    names = dict.fromkeys([m.name for m in work.materials] + [e.source for e in result.evidence] if result else [])
    if unknown := [source for source in expected.sources if source not in names]:
        raise InvalidInput(
            f"the run has and cites no source {unknown[0]!r}.",
            argument="--cite",
            allowed=[*names],
            next_step=f"It has: {', '.join(names) or 'none'}.",
        )
    wanted = expected if expected.criteria else expected.model_copy(update={"criteria": work.criteria})
    try:
        # criteria that are expected besides must be rated, or nobody would know whether they are met
        work = Work.model_validate(
            work.model_dump() | {"criteria": tuple(dict.fromkeys((*work.criteria, *wanted.criteria)))}
        )
    except ValidationError as error:
        raise InvalidInput(error.errors()[0]["msg"], argument="--criterion") from None
    return Example(
        id=f"ex-{uuid.uuid4().hex[:12]}",
        suite=suite,
        run_id=run_id,
        work=work,
        expected=wanted,
        baseline=_baseline(row, result),
        made_at=datetime.now(UTC),
    )


async def add(db: AsyncConnection, caller: str, examples: Sequence[Example]) -> None:
    """Store the examples. InvalidInput for one that the set has already, by its run or by what it asks for."""
    for one in examples:
        for known in await of_set(db, caller, one.suite):
            if known.id == one.id or known.digest == one.digest or (one.run_id and known.run_id == one.run_id):
                raise InvalidInput(
                    f"the set {one.suite!r} has this example already, as {known.id}.",
                    argument="RUN",
                    next_step=f"Take that one out first: atlas-mcp eval remove {known.id}",
                )
        told = one.model_dump(mode="json")
        row = {"id": one.id, "caller": caller, "suite": one.suite, "run_id": one.run_id, "goal": one.work.goal}
        kept = {"input": told["work"], "expected": {"expected": told["expected"], "baseline": told["baseline"]}}
        await db.execute(insert(example).values(**row, **kept, made_at=one.made_at))


async def of_set(db: AsyncConnection, caller: str, suite: str | None = None) -> list[Example]:
    """The caller's examples of that set, or of all; in the order in which they came."""
    query = select(example).where(example.c.caller == caller).order_by(example.c.suite, example.c.made_at, example.c.id)
    rows: Any = await db.execute(query if suite is None else query.where(example.c.suite == suite))
    return [
        Example(
            id=row.id,
            suite=row.suite,
            run_id=row.run_id,
            work=Work.model_validate(row.input),
            expected=Expected.model_validate(row.expected["expected"]),
            baseline=Baseline.model_validate(row.expected["baseline"]),
            made_at=row.made_at,
        )
        for row in rows
    ]


async def sets(db: AsyncConnection, caller: str) -> dict[str, int]:
    """The caller's sets, and how many examples each has."""
    query = select(example.c.suite, func.count()).where(example.c.caller == caller).group_by(example.c.suite)
    return {row[0]: row[1] for row in await db.execute(query.order_by(example.c.suite))}


async def remove(db: AsyncConnection, caller: str, example_id: str) -> None:
    """Take the example out. InvalidInput where the caller has none of that id."""
    done = await db.execute(delete(example).where(example.c.id == example_id, example.c.caller == caller))
    if not done.rowcount:
        raise InvalidInput(
            f"there is no example {example_id!r}.", argument="EXAMPLE", next_step="See: atlas-mcp eval list"
        )


def _work(kind: str, given: dict[str, Any]) -> Work:
    if kind == "team_task":
        return Work.model_validate({key: given[key] for key in _TASK if key in given})
    return Work(kind="turn", goal=given["message"], agent=given["agent"], criteria=TEXT_CRITERIA)


def _baseline(row: Any, result: Result | None) -> Baseline:
    usage = Usage.model_validate(row.usage)
    return Baseline(
        ratings=criteria_means([r for r in result.ratings if r.round == result.best_round]) if result else {},
        seconds=(row.updated_at - row.created_at).total_seconds(),
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        cost_usd=usage.cost_usd,
    )
