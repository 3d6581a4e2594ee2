"""How an executor's changes get into the record: together where they come together, in order, and never half."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import pytest

from atlas_mcp.errors import LockTimeout, RunLost
from atlas_mcp.model.run import Event
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import journal
from atlas_mcp.runs.changes import Entry, Kept
from atlas_mcp.runs.pen import Pen
from atlas_mcp.runs.steps import Stand, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.runs.changes import Change

pytestmark = pytest.mark.anyio
STAND = Stand("working", 0, Usage(), {}, {})


class Takes:
    """Where steps end: in the order they were made, each when it is let through."""

    def __init__(self) -> None:
        self.steps: list[list[str]] = []
        self.begun = anyio.Event()
        self.go_on = anyio.Event()
        self.failing: list[Exception] = []
        self.late = False

    async def take(self, changes: Sequence[Change]) -> Step:
        self.begun.set()
        await self.go_on.wait()
        if self.failing:
            raise self.failing.pop()
        self.steps.append([c.text if isinstance(c, Entry) else c.name for c in changes if isinstance(c, Entry | Kept)])
        entries = [] if self.late else [c for c in changes if isinstance(c, Entry)]
        return Step([_event(e, n) for n, e in enumerate(entries, 1)], new=True, late=self.late, stand=STAND)


def _event(entry: Entry, seq: int) -> Event:
    from datetime import UTC, datetime

    return journal.numbered(entry, seq, datetime.now(UTC))


def said(text: str) -> Entry:
    return Entry("atlas", "said", text)


async def test_what_comes_while_a_step_is_under_way_goes_into_the_next_one_and_everyone_gets_their_own_events():
    takes = Takes()
    pen = Pen("run", takes.take)
    got: dict[str, list[str]] = {}

    async def write(text: str) -> None:
        got[text] = [e.text for e in await pen.write(said(text))]

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            group.start_soon(write, "first")
            await takes.begun.wait()
            pen.tell(said("told"))
            for text in ("second", "third"):
                group.start_soon(write, text)
            await anyio.lowlevel.checkpoint()
            takes.go_on.set()
    assert takes.steps == [["first"], ["told", "second", "third"]]
    assert got == {"first": ["first"], "second": ["second"], "third": ["third"]}


async def test_what_is_told_is_stored_though_nobody_waits_for_it():
    takes = Takes()
    takes.go_on.set()
    pen = Pen("run", takes.take)
    pen.tell(said("a"))
    pen.tell(said("b"))
    with anyio.fail_after(60):
        await takes.begun.wait()
        await pen.flush()
    assert takes.steps == [["a", "b"]]


async def test_what_was_told_and_could_not_be_stored_is_stored_with_the_next_change():
    takes = Takes()
    takes.go_on.set()
    takes.failing = [LockTimeout("busy")]
    pen = Pen("run", takes.take)
    pen.tell(said("told"))
    with pytest.raises(LockTimeout):
        await pen.write(said("refused"))
    await pen.write(said("next"))
    assert takes.steps == [["told", "next"]]


async def test_one_who_comes_while_a_step_fails_is_served_with_what_was_told_before():
    takes = Takes()
    takes.failing = [LockTimeout("busy")]
    pen = Pen("run", takes.take)

    async def fail() -> None:
        with pytest.raises(LockTimeout):
            await pen.write(said("refused"))

    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            pen.tell(said("told"))
            group.start_soon(fail)
            await takes.begun.wait()
            group.start_soon(pen.write, said("later"))
            await anyio.lowlevel.checkpoint()
            takes.go_on.set()
    assert takes.steps == [["told", "later"]]


async def test_a_cancelled_run_takes_in_what_was_done_and_tells_only_those_who_wanted_more():
    takes = Takes()
    takes.go_on.set()
    takes.late = True
    pen = Pen("run", takes.take)
    with pytest.raises(RunLost):
        await pen.write(Kept("text", "done"), said("event"))
    assert await pen.write(Kept("more", "done")) == []
    assert takes.steps[0] == ["text", "event"]


async def test_one_who_is_cancelled_while_waiting_costs_the_others_nothing():
    takes = Takes()
    pen = Pen("run", takes.take)
    with anyio.fail_after(60):
        async with anyio.create_task_group() as group:
            with anyio.CancelScope() as scope:
                group.start_soon(pen.write, said("other"))
                await takes.begun.wait()
                scope.cancel()
                await pen.write(said("cut"))
            takes.go_on.set()
        await pen.flush()
    assert takes.steps == [["other"], ["cut"]] or takes.steps == [["other"]]


async def test_nothing_to_write_asks_the_record_for_nothing():
    takes = Takes()
    pen = Pen("run", takes.take)
    with anyio.fail_after(60):
        await pen.flush()
        assert await pen.write() == []
    assert takes.steps == []
