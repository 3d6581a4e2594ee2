"""A run's time at work, as its journal tells it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert

from atlas_mcp.runs.worked import seconds_worked
from atlas_mcp.store import tables
from atlas_mcp.store.record import open_record

pytestmark = pytest.mark.anyio
DAY = 86_400


@pytest.mark.parametrize(
    ("told", "seconds"),
    [
        ([], 0),
        ([("run_queued", 0)], 0),
        ([("run_queued", 0), ("run_started", 50), ("planned", 57)], 7),
        ([("run_started", 0), ("planned", 5), ("run_resumed", DAY), ("drafted", DAY + 3)], 8),
        (
            [
                ("run_started", 0),
                ("question_asked", 4),
                ("run_waiting", 5),
                ("question_answered", DAY),
                ("run_resumed", DAY + 1),
                ("drafted", DAY + 3),
            ],
            7,
        ),
    ],
)
async def test_waiting_for_a_slot_an_answer_or_another_process_is_no_time_at_work(
    home: Path, told: list[tuple[str, int]], seconds: float
) -> None:
    home.mkdir()
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    same = {"run_id": "r", "actor": "a", "text": "", "data": {}}
    rows = [
        {**same, "seq": n, "at": begun + timedelta(seconds=at), "type": kind} for n, (kind, at) in enumerate(told, 1)
    ]
    async with open_record(home) as record:
        if rows:
            async with record.write() as db:
                await db.execute(insert(tables.event), rows)
        async with record.read() as db:
            assert await seconds_worked(db, "r") == seconds
