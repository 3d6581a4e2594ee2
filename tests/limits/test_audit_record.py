"""The audit log in the record, on SQLite and on PostgreSQL: nobody can change it, and a record that is down costs no
call."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import text

from atlas_mcp._auditing import AuditTrail
from atlas_mcp.access import audit as log_module
from atlas_mcp.access import audit_rows
from atlas_mcp.access.audit import AuditLog
from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.model.audited import Audited, AuditQuery
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.access_tables import audit
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
DEADLINE = 60
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def entry(number: int = 0, **other: Any) -> Audited:
    values = {
        "at": NOON + timedelta(minutes=number),
        "caller": "key:ann",
        "via": "k1",
        "action": f"act{number}",
        **other,
    }
    return Audited(**values)


@pytest.fixture(params=["sqlite", "postgresql"])
async def record(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Record]:
    database = None if request.param == "sqlite" else Postgres(session_postgres().new_database())
    async with open_record(tmp_path, database) as opened:
        yield opened


class Way:
    """The way into a record, which can be closed, and held up."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self.broken = False
        self.go = anyio.Event()
        self.go.set()
        self.transactions: list[int] = []
        self.begun, self.done = anyio.Event(), anyio.Event()

    async def write(self, entries: Sequence[Audited]) -> None:
        self.begun.set()
        await self.go.wait()
        if self.broken:
            raise StoreUnavailable("the record cannot be written: disk full.")
        async with self._record.jot("audit test") as db:
            await audit_rows.add(db, entries)
        self.transactions.append(len(entries))
        self.done.set()


@asynccontextmanager
async def writing(log: AuditLog) -> AsyncIterator[None]:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(log.write_on)
        yield
        tasks.cancel_scope.cancel()


async def kept(record: Record, **query: Any) -> list[Audited]:
    async with record.read() as db:
        return [entry for _, entry in await audit_rows.found(db, AuditQuery(**query))]


async def test_the_database_itself_refuses_to_change_the_log(record: Record) -> None:
    way = Way(record)
    await way.write([entry(1), entry(2)])
    before = await kept(record)
    orders = [
        "UPDATE audit SET outcome = 'done', caller = 'nobody'",
        "DELETE FROM audit",
        "INSERT INTO audit SELECT * FROM audit WHERE true ON CONFLICT (seq) DO UPDATE SET caller = 'nobody'",
        "TRUNCATE audit" if record.database else "INSERT OR REPLACE INTO audit SELECT * FROM audit",
    ]
    for order in orders:
        with pytest.raises(Exception, match="append-only"):
            async with record.write() as db:
                await db.execute(text(order))
    assert await kept(record) == before


async def test_entries_are_found_by_what_they_are_newest_last(record: Record) -> None:
    await Way(record).write([entry(n, caller="key:bob" if n % 2 else "key:ann") for n in range(6)])
    assert [e.action for e in await kept(record, limit=2)] == ["act4", "act5"]
    assert [e.action for e in await kept(record, caller="key:bob")] == ["act1", "act3", "act5"]
    within = await kept(record, since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=3))
    assert [e.action for e in within] == ["act1", "act2"]
    assert [e.at for e in within] == [NOON + timedelta(minutes=1), NOON + timedelta(minutes=2)]
    assert await kept(record, action="act3", outcome="failed") == []


async def test_who_follows_hears_of_every_entry_though_a_later_one_was_the_first_to_be_written(record: Record) -> None:
    heard: list[str] = []

    async def until(count: int) -> None:
        async for one in followed:
            heard.append(one.action)
            if len(heard) == count:
                return

    async def write(*numbers: int) -> None:
        async with record.jot("audit test") as db:
            await db.execute(audit.insert(), [{**entry(n).model_dump(), "seq": n} for n in numbers])

    await write(1, 2, 3)
    followed = AuditTrail(record, Caller(id="me")).follow(AuditQuery(limit=2))
    with anyio.fail_after(DEADLINE):
        await until(2)
        await write(20)
        await until(3)
        await write(*range(4, 12))
        await until(11)
    assert heard == ["act2", "act3", "act20", *(f"act{n}" for n in range(4, 12))]


async def test_entries_that_come_together_share_a_transaction(record: Record) -> None:
    way = Way(record)
    log = AuditLog(way.write)
    way.go = anyio.Event()
    with anyio.fail_after(DEADLINE):
        async with writing(log), anyio.create_task_group() as callers:
            callers.start_soon(log.keep, entry(0))
            await way.begun.wait()
            for n in range(1, 20):
                callers.start_soon(log.keep, entry(n))
            while log.waiting < 19:
                await anyio.lowlevel.checkpoint()
            way.go.set()
    assert sorted(e.action for e in await kept(record)) == sorted(f"act{n}" for n in range(20))
    assert way.transactions == [1, 19]


async def test_a_record_that_cannot_be_written_holds_nobody_up_and_what_was_lost_is_told(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(log_module, "MOST", 3)
    way = Way(record)
    log = AuditLog(way.write)
    with anyio.fail_after(DEADLINE):
        async with writing(log):
            way.broken = True
            for n in range(5):
                await log.keep(entry(n))
            assert log.problem is not None
            assert "disk full" in log.problem
            assert (log.waiting, log.lost) == (3, 2)
            way.broken, way.done = False, anyio.Event()
            await way.done.wait()
            await log.keep(entry(9))
    found = await kept(record)
    assert [e.action for e in found] == ["act0", "act1", "act2", "audit", "act9"]
    assert found[3].detail == "2 entries before this one could not be kept"


async def test_what_was_noted_is_written_at_the_end(record: Record) -> None:
    way = Way(record)
    log = AuditLog(way.write)
    async with writing(log):
        log.note(entry(1))
    assert [e.action for e in await kept(record)] == ["act1"]
    with anyio.fail_after(DEADLINE):
        await log.keep(entry(2))  # nobody writes any more, and nobody waits for that


async def test_a_flood_of_refusals_costs_two_entries_a_minute(record: Record) -> None:
    way = Way(record)
    log = AuditLog(way.write)
    async with writing(log):
        for _ in range(5_000):
            log.refused(401, "192.0.2.7")
    found = await kept(record)
    assert [(e.action, e.address, e.detail) for e in found] == [
        ("http 401", "192.0.2.7", ""),
        ("http 401", "", "4,999 more within a minute"),
    ]
    assert {e.outcome for e in found} == {"refused"}
