"""Two processes with the same call in their hands make it once at most, on SQLite and on PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
import pytest

from atlas_mcp.constellation.approvals import Approvals
from atlas_mcp.constellation.tool import Tool
from atlas_mcp.errors import RunLost, ToolFailed
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.turn import ToolSpec
from atlas_mcp.reach import consents
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.model.question import Asking
    from atlas_mcp.reach.held import HeldCall

pytestmark = pytest.mark.anyio
TOOL = Tool(
    ToolSpec(name="post_note", description="d", parameters={}), "server", "board", frozenset(), ("write",), "ask"
)


class Run:
    """A run whose caller gives one answer to all that is asked, once `everybody` who takes part has asked."""

    run_id = "run-1"
    resumed = True
    lost_at = ""
    """The event at which it is another process's."""

    def __init__(self, caller: str = "local:me", answer: str = "approve", everybody: int = 1) -> None:
        self.caller = Caller(id=caller)
        self.asked: list[Asking] = []
        self.told: list[str] = []
        self._answer = answer
        self._waiting = everybody
        self._all = anyio.Event()

    async def put(self, asking: Asking, *, key: str, most: int | None = None) -> bool:
        self.asked.append(asking)
        return True

    async def ask(self, asking: Asking, *, key: str) -> str:
        self._waiting -= 1
        if self._waiting <= 0:
            self._all.set()
        await self._all.wait()
        return self._answer

    async def emit(self, actor: str, type: str, text: str, **data: Any) -> None:
        if type == self.lost_at:
            raise RunLost(self.run_id)
        self.told.append(type)


class Maker:
    """Makes calls, and counts them."""

    def __init__(self) -> None:
        self.made: list[dict[str, Any]] = []

    async def __call__(self, call: HeldCall) -> str:
        self.made.append(call.arguments)
        await anyio.lowlevel.checkpoint()
        return "done"


@pytest.fixture(params=["sqlite", "postgresql"])
async def records(request: pytest.FixtureRequest, home: Path) -> AsyncIterator[tuple[Record, Record]]:
    """The same record, opened twice."""
    home.mkdir()
    database = Postgres(session_postgres().new_database()) if request.param == "postgresql" else None
    async with open_record(home, database) as one, open_record(home, database) as other:
        yield one, other


async def test_of_two_who_find_it_approved_one_makes_it(records: tuple[Record, Record]) -> None:
    run, make = Run(everybody=2), Maker()
    sides = [Approvals(record, run, "ada", "turn-1") for record in records]
    assert "was not made: it waits" in (await sides[0].admit(TOOL, {"text": "a"}) or "")
    said: list[str] = []

    async def go_on(side: Approvals) -> None:
        said.append(await side.came_to(make) or "")

    async with anyio.create_task_group() as group:
        for side in sides:
            group.start_soon(go_on, side)
    assert make.made == [{"text": "a"}]
    assert all("was approved" in one for one in said)
    assert await sides[0].came_to(make) is not None
    assert len(make.made) == 1, "and not when it is asked for again"


async def test_a_yes_of_one_caller_is_none_of_another(records: tuple[Record, Record]) -> None:
    mine, theirs = Run(answer="always approve"), Run(caller="local:other")
    side = Approvals(records[0], mine, "ada", "turn-1")
    await side.admit(TOOL, {"text": "a"})
    await side.came_to(Maker())
    assert await Approvals(records[1], mine, "bob", "turn-2").admit(TOOL, {"text": "b"}) is None
    assert await Approvals(records[1], theirs, "ada", "turn-1").admit(TOOL, {"text": "b"}) is not None
    async with records[0].read() as db:
        assert [one.caller for one in await consents.listed(db)] == ["local:me"]


async def test_a_run_holds_no_more_than_somebody_would_answer(
    records: tuple[Record, Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlas_mcp.constellation.approvals.MOST_HELD", 2)
    side = Approvals(records[0], Run(), "ada", "turn-1")
    for text in ("a", "b"):
        await side.admit(TOOL, {"text": text})
    with pytest.raises(ToolFailed, match="2 calls of this task waited for approval"):
        await side.admit(TOOL, {"text": "c"})
    assert "was not made: it waits" in (await side.admit(TOOL, {"text": "a"}) or ""), "it waits, so it is not one more"


async def test_long_arguments_are_cut_in_the_question_and_that_is_said(records: tuple[Record, Record]) -> None:
    run, make = Run(), Maker()
    side = Approvals(records[0], run, "ada", "turn-1")
    await side.admit(TOOL, {"text": "x" * 10_000})
    assert "more characters, which are not shown" in run.asked[0].text
    assert len(run.asked[0].text) < 3_500
    await side.came_to(make)
    assert make.made == [{"text": "x" * 10_000}]


@pytest.mark.parametrize(("answer", "type"), [("approve", "tool_approved"), ("reject", "tool_refused")])
async def test_an_answer_that_was_taken_and_not_told_is_told_by_the_next_process(
    records: tuple[Record, Record], answer: str, type: str
) -> None:
    first, then, make = Run(answer=answer), Run(answer=answer), Maker()
    first.lost_at = type
    await Approvals(records[0], first, "ada", "turn-1").admit(TOOL, {"text": "a"})
    with pytest.raises(RunLost):
        await Approvals(records[0], first, "ada", "turn-1").came_to(make)
    await Approvals(records[1], then, "ada", "turn-1").came_to(make)
    assert then.told == [type]
    assert len(make.made) == (answer == "approve")


async def test_that_a_call_was_lost_is_told_also_when_the_process_that_found_it_died(
    records: tuple[Record, Record],
) -> None:
    async def dies(call: HeldCall) -> str:
        raise RunLost("run-1")

    runs = [Run(), Run(), Run()]
    runs[1].lost_at = "tool_lost"
    sides = [Approvals(records[number % 2], run, "ada", "turn-1") for number, run in enumerate(runs)]
    await sides[0].admit(TOOL, {"text": "a"})
    for side, make in ((sides[0], dies), (sides[1], Maker())):
        with pytest.raises(RunLost):
            await side.came_to(make)
    make = Maker()
    assert "It is not repeated" in (await sides[2].came_to(make) or "")
    assert "tool_lost" in runs[2].told
    assert make.made == []
