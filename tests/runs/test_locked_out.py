"""A record that takes nothing for a while: what was done is not lost by it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.runs import RunOutcome, open_runs
from atlas_mcp.store import sqlite
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import open_record

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.store.home import Home

pytestmark = pytest.mark.anyio
DEADLINE = 60


async def locked(other: sqlite3.Connection) -> None:
    """Keep the record from everybody else, as soon as nobody of this process is just writing."""
    while True:
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            await anyio.sleep(0.01)  # who writes needs this loop to come to an end
        else:
            return


async def test_a_run_whose_end_could_not_be_stored_ends_when_it_can_be(
    opened_home: Home, me: Caller, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_MS", 50)
    begun, go, attempts = anyio.Event(), anyio.Event(), 0

    async def executor(run: RunContext) -> RunOutcome:
        nonlocal attempts
        attempts += 1
        begun.set()
        await go.wait()
        return RunOutcome(reply="done")

    async with (
        open_record(opened_home.path) as record,
        open_runs(opened_home, record, Locks(opened_home.locks), {"turn": executor}) as runs,
    ):
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await begun.wait()
            with closing(sqlite3.connect(opened_home.record, isolation_level=None, timeout=0)) as other:
                await locked(other)
                go.set()
                while "could not be stored" not in caplog.text:  # noqa: ASYNC110 - only the log tells
                    await anyio.sleep(0.01)
                other.execute("COMMIT")
            run = await runs.get(me, run_id, since=100, wait_seconds=DEADLINE)
    assert (run.status, run.reply, attempts) == ("completed", "done", 2)
