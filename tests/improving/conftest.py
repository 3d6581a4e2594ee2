"""A record with what happened in a month of it, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert

from atlas_mcp.store import tables
from tests.health import conftest as health

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.store.record import Record

record = health.record
"""The fixture: an empty record, on both databases."""


async def tasks(
    record: Record,
    number: int,
    *,
    idle: Sequence[str] = ("strategist",),
    busy: str = "data_scientist",
    rating: float = 4.5,
    at: datetime | None = None,
    label: str = "run",
    caller: str = "local:me",
) -> None:
    """So many finished team tasks, in which the `idle` delivered nothing and the other one what was cited."""
    at = at or datetime.now(UTC) - timedelta(days=2)
    quoted = {"claim": "c", "source": "tea.txt", "quote": "Tea grows in Assam."}
    async with record.write() as db:
        for n in range(number):
            run_id = f"{label}{n}"
            result = {
                "output": "o",
                "best_round": 1,
                "evidence": [quoted],
                "ratings": [{"criterion": "c", "score": rating, "reason": "", "rater": "r", "round": 1}],
            }
            await db.execute(insert(tables.run).values(_run(run_id, caller, at, result)))
            delegated = {"assignments": [{"worker": name, "task": "t"} for name in (busy, *idle)]}
            texts = {"part/a/delegation": delegated, "part/a/0": {"text": "t", "evidence": [quoted]}}
            for name, held in texts.items():
                row = {"id": f"{run_id}/{name}", "run_id": run_id, "name": name, "text": json.dumps(held)}
                await db.execute(insert(tables.artifact).values(**row, created_at=at))
            for agent in (busy, *idle):
                await db.execute(insert(tables.turn).values(_turn(f"{run_id}/{agent}", agent, run_id, caller, at)))


def _run(run_id: str, caller: str, at: datetime, result: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": run_id,
        "caller": caller,
        "kind": "team_task",
        "status": "completed",
        "goal": "a secret goal",
        "input": {},
        "progress": {},
        "result": result,
        "usage": {},
        "needs": [],
        "created_at": at,
        "updated_at": at,
    }


def _turn(identity: str, agent: str, run_id: str, caller: str, at: datetime) -> dict[str, Any]:
    return {
        "id": identity,
        "key": identity,
        "caller": caller,
        "agent": agent,
        "conversation": "c",
        "run_id": run_id,
        "message": "m",
        "status": "done",
        "started_at": at,
        "finished_at": at + timedelta(seconds=2),
    }
