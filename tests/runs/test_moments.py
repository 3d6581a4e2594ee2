"""What comes between a change or a look and the moment in which who made it goes on."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import anyio
import pytest
from sqlalchemy import select

from atlas_mcp.errors import StoreUnavailable, Waiting
from atlas_mcp.model.question import Asking
from atlas_mcp.runs import RunOutcome, rows
from atlas_mcp.runs.pulse import Pulse
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
DEADLINE = 60
WHY = Asking(asked_by="a", kind="text", text="Why?", words="the reason", safe="no reason")


class Broken:
    """A record whose connection breaks while the first change is being stored: it is, and nobody knows."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.broke = anyio.Event()

    @asynccontextmanager
    async def write(self, of: str | None = None) -> AsyncGenerator[AsyncConnection]:
        async with self._record.write(of) as connection:
            yield connection
        if not self.broke.is_set():
            self.broke.set()
            raise StoreUnavailable("it does not answer.")


async def test_a_beat_of_which_it_is_not_known_whether_it_was_stored_is_not_left_behind(record: Record) -> None:
    broken = Broken(record)
    pulse = Pulse("one", cast("Record", broken), lambda: True)
    with anyio.fail_after(DEADLINE):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(pulse.beat)
            await broken.broke.wait()
            tasks.cancel_scope.cancel()
        await pulse.end()
    async with record.read() as db:
        assert (await db.execute(select(tables.executor))).all() == []


async def test_the_watch_stops_the_attempt_that_it_looked_at_and_not_the_one_after_it(
    opening: Any, me: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, second, stopped = anyio.Event(), anyio.Event(), anyio.Event()
    attempts, not_ours = 0, rows.not_ours

    async def late(*given: Any) -> list[str]:
        if second.is_set():
            stopped.set()  # it looks again, so it has done what it does about what it saw before
        found = await not_ours(*given)
        if found and not second.is_set():
            seen.set()
            await second.wait()
        return found

    async def executor(run: RunContext) -> RunOutcome:
        nonlocal attempts
        attempts += 1
        try:
            answer = await run.ask(WHY, key="why")
        except Waiting:
            await seen.wait()
            raise
        second.set()
        await stopped.wait()
        return RunOutcome(reply=answer)

    monkeypatch.setattr(rows, "not_ours", late)
    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await seen.wait()
            await runs.answer(me, run_id, "because")
            run = await runs.get(me, run_id, since=1000, wait_seconds=DEADLINE)
    assert (run.status, run.reply, attempts) == ("completed", "because", 2)
