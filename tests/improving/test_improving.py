"""Proposals in the record: each once, applied one at a time, measured, taken back; and looked for in the background."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest
from sqlalchemy import delete, func, select

from atlas_mcp import _improving
from atlas_mcp._improving import Improving, keep_improving
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.store import tables
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.memory_tables import derived
from atlas_mcp.watch.improving import rows
from tests.improving.conftest import tasks

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.store.record import Record

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]


@pytest.fixture
def improving(record: Record, home: Path) -> Improving:
    return Improving(record, home, load_roster(None))


async def statuses(improving: Improving) -> dict[str, str]:
    return {one.subject: one.status for one in await improving.list()}


# -- what is proposed


async def test_what_the_record_shows_is_proposed_once_and_holds_no_callers_text(
    record: Record, improving: Improving
) -> None:
    await tasks(record, 20)
    for _ in range(2):
        assert await improving.look() == []
    [found] = await improving.list()
    assert (found.kind, found.subject, found.status, found.safe) == ("worker", "strategist", "proposed", True)
    assert found.evidence["assignments"] == 20
    assert found.evidence["delivered"] == 0
    assert "secret" not in found.model_dump_json()


async def test_a_proposal_is_outdated_when_its_evidence_is_gone_and_back_when_there_is_some_again(
    record: Record, improving: Improving
) -> None:
    await tasks(record, 20)
    await improving.look()
    async with record.write() as db:
        for table in (tables.run, tables.artifact, tables.turn):
            await db.execute(delete(table))
    await improving.look()
    assert await statuses(improving) == {"strategist": "outdated"}
    await tasks(record, 12)
    await improving.look()
    [found] = await improving.list()
    assert (found.status, found.evidence["assignments"]) == ("proposed", 12)


async def test_what_was_dismissed_or_undone_is_not_proposed_again(record: Record, improving: Improving) -> None:
    await tasks(record, 20, idle=("strategist", "document_researcher"))
    await improving.look()
    first, second = await improving.list()
    await improving.dismiss(first.id)
    await improving.apply(second.id)
    assert [change.agent for change in await in_force(record)] == [second.subject]
    await improving.undo(second.id)
    await improving.look(by_itself=True)
    assert await statuses(improving) == {first.subject: "dismissed", second.subject: "taken_back"}
    assert await in_force(record) == []


async def in_force(record: Record) -> list[Any]:
    async with record.look() as db:
        return await rows.in_force(db)


async def test_what_cannot_be_done_to_a_proposal_is_refused(record: Record, improving: Improving) -> None:
    await tasks(record, 20)
    await improving.look()
    [found] = await improving.list()
    with pytest.raises(InvalidInput, match="no proposal"):
        await improving.show("improve-none")
    with pytest.raises(IllegalChange, match="nothing to undo"):
        await improving.undo(found.id)
    await improving.apply(found.id)
    with pytest.raises(IllegalChange, match="applied already"):
        await improving.apply(found.id)
    with pytest.raises(IllegalChange, match="undo"):
        await improving.dismiss(found.id)


# -- what is applied by itself


async def test_by_itself_one_safe_change_is_applied_at_a_time_and_the_next_when_that_is_decided(
    record: Record, improving: Improving
) -> None:
    await tasks(record, 20, idle=("strategist", "document_researcher"))
    [told] = await improving.look(by_itself=True)
    assert "is applied" in told
    assert sorted((await statuses(improving)).values()) == ["applied", "proposed"]
    assert await improving.look(by_itself=True) == []
    now = datetime.now(UTC)
    await tasks(record, 12, idle=(), at=now + timedelta(hours=1), label="since")
    kept, then = await improving.look(now + timedelta(days=1), by_itself=True)
    assert "kept" in kept
    assert "is applied" in then
    assert sorted((await statuses(improving)).values()) == ["applied", "kept"]


async def test_what_was_applied_is_taken_back_when_tasks_are_rated_worse(record: Record, improving: Improving) -> None:
    await tasks(record, 20)
    await improving.look(by_itself=True)
    [applied] = await improving.list()
    now = datetime.now(UTC)
    await tasks(record, 12, idle=(), rating=2.5, at=now + timedelta(hours=1), label="since")
    [told] = await improving.look(now + timedelta(days=1), by_itself=True)
    assert "taken back" in told
    back = await improving.show(applied.id)
    assert back.status == "taken_back"
    assert back.measured is not None
    assert (back.measured["before"]["rated"]["mean"], back.measured["since"]["rated"]["mean"]) == (4.5, 2.5)
    assert await in_force(record) == []


async def test_what_is_not_safe_or_not_sure_is_left_to_a_person(record: Record, improving: Improving) -> None:
    await tasks(record, 10)  # 1 - 0.9 ** 11 is 69 %
    assert await improving.look(by_itself=True) == []
    assert await statuses(improving) == {"strategist": "proposed"}


# -- in the background


class Stopped(Exception):
    """Raised by the test's own pause to end the loop."""


async def test_of_the_processes_of_a_record_one_looks_and_only_once_an_hour(record: Record, home: Path) -> None:
    await tasks(record, 20)
    locks = Locks(home / "locks")
    settings = SimpleNamespace(improve=False)
    house = SimpleNamespace(
        home=SimpleNamespace(path=home), file_roster=load_roster(None), locks=locks, settings=settings
    )
    looks: list[datetime] = []

    async def moment() -> datetime | None:
        async with record.read() as db:
            return (
                await db.execute(select(derived.c.at).where(derived.c.name == _improving.NAME))
            ).scalar_one_or_none()

    async def pause(seconds: float) -> None:
        if seconds != _improving.FIRST_SECONDS:
            if (at := await moment()) is not None:
                looks.append(at)
            if pauses.pop():
                raise Stopped

    rooms = cast("Any", SimpleNamespace(record=record, keeper=house))
    held = locks.try_hold(_improving.NAME)
    assert held is not None
    pauses = [True, False]
    with held, pytest.raises(Stopped):
        await keep_improving(rooms, pause=pause)
    assert looks == []
    pauses = [True, False, False]
    with pytest.raises(Stopped):
        await keep_improving(rooms, pause=pause)
    assert len(looks) == 3
    assert len(set(looks)) == 1
    async with record.read() as db:
        count = (await db.execute(select(func.count()).where(rows.table.c.status == "proposed"))).scalar_one()
    assert count == 1
