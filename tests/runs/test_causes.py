"""What led to an event, as the journal tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import pytest

from atlas_mcp.runs import RunOutcome
from atlas_mcp.runs.changes import Entry

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.runs.context import RunContext

pytestmark = pytest.mark.anyio
DEADLINE = 60


async def test_an_event_names_the_one_that_led_to_it_also_in_a_later_attempt(opening: Any, me: Caller) -> None:
    begun = anyio.Event()

    async def executor(run: RunContext) -> RunOutcome:
        if not run.resumed:
            await run.write(Entry("a", "turn_started", "begins", key="1:started"))
            begun.set()
            await anyio.sleep_forever()
        ended = Entry("a", "turn_finished", "is done", key="1:finished", cause_key="1:started")
        again = Entry("a", "turn_finished", "is done again", key="1:finished", cause_key="1:started")
        await run.write(ended, Entry("b", "note", "of that", cause_key="1:finished"), Entry("b", "note", "of nothing"))
        await run.write(again, Entry("b", "note", "of what never was", cause_key="none"))
        return RunOutcome(reply="done")

    async with opening(executor) as runs:
        run_id = await runs.submit(me, "turn", "g", {})
        with anyio.fail_after(DEADLINE):
            await begun.wait()
    async with opening(executor) as runs:
        with anyio.fail_after(DEADLINE):
            run = await runs.get(me, run_id, since=1000, wait_seconds=DEADLINE)
            run = await runs.get(me, run_id)
    assert [(e.seq, e.type, e.cause) for e in run.events] == [
        (1, "run_queued", None),
        (2, "run_started", 1),
        (3, "turn_started", None),
        (4, "run_resumed", 3),
        (5, "turn_finished", 3),
        (6, "note", 5),
        (7, "note", None),
        (8, "note", None),
        (9, "run_completed", None),
    ]
