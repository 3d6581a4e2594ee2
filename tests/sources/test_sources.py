"""Texts from outside are kept as they were given, once, with their run, and are found by the name they are cited by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, insert, select

from atlas_mcp.errors import ToolFailed
from atlas_mcp.memory.redacting import Redactor
from atlas_mcp.memory.spreading import spread
from atlas_mcp.model.caller import Caller
from atlas_mcp.reach import sources
from atlas_mcp.reach.sources import Sources, plain
from atlas_mcp.reach.web.page import Page
from atlas_mcp.reach.web.pages import Pages
from atlas_mcp.runs.pruning import prune
from atlas_mcp.store import tables
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.reach_tables import source
from atlas_mcp.store.record import open_record
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from pathlib import Path

    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="key:me"), Caller(id="key:other")
PAGE = "https://example.org/report"
THEN = datetime(2026, 1, 1, tzinfo=UTC)
ENDED = {
    "id": "r1",
    "caller": ME.id,
    "kind": "team_task",
    "status": "completed",
    "goal": "g",
    "input": {},
    "progress": {},
    "usage": {},
    "needs": [],
    "created_at": THEN,
    "updated_at": THEN,
}


@pytest.fixture
async def record(tmp_path: Path) -> AsyncGenerator[Record]:
    async with open_record(tmp_path) as opened:
        yield opened


@pytest.fixture(params=["sqlite", "postgresql"])
async def any_record(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[Record]:
    database = None if request.param == "sqlite" else Postgres(session_postgres().new_database())
    async with open_record(tmp_path, database) as opened:
        yield opened


async def test_a_page_is_found_however_its_address_is_written(record: Record) -> None:
    mine = Sources(ME, record)
    await mine.told_by("web_researcher", "r1")("https://Example.org/report/", "It rained.", title="Weather")
    for name in (PAGE, f"{PAGE}/", f"{PAGE}#part-2", "https://EXAMPLE.ORG:443/report", f" <{PAGE}> "):
        (found,) = await mine.named("r1", [name])
        assert (found.text, found.title) == ("It rained.", "Weather")
    for name in ("https://example.org/Report", "https://example.org", f"{PAGE}?page=2", "report"):
        assert await mine.named("r1", [name]) == []


async def test_neither_another_run_nor_another_caller_finds_it(record: Record) -> None:
    await Sources(ME, record).told_by("a", "r1")(PAGE, "It rained.")
    assert await Sources(ME, record).named("r2", [PAGE]) == []
    assert await Sources(OTHER, record).named("r1", [PAGE]) == []
    assert await Sources(OTHER, record).listed("r1") == []


async def test_the_same_text_is_kept_once_and_a_changed_one_beside_it(any_record: Record) -> None:
    mine = Sources(ME, any_record)
    for agent, text in (("a", "It rained."), ("b", "It rained."), ("a", "It snowed.")):
        await mine.told_by(agent, "r1")(PAGE, text)
    assert [found.text for found in await mine.named("r1", [PAGE])] == ["It rained.", "It snowed."]
    assert [found.name for found in await mine.listed("r1")] == [PAGE]


async def test_what_no_database_takes_costs_nothing_but_itself(any_record: Record) -> None:
    await Sources(ME, any_record).told_by("a", "r1")("odd\0name", "half \ud800 of a character, \0 nothing")
    (found,) = await Sources(ME, any_record).named("r1", ["oddname"])
    assert found.text == "half ? of a character,  nothing"


async def test_a_run_is_given_no_more_than_it_may(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "RUN_CHARS", 25)
    monkeypatch.setattr(sources, "MOST_CHARS", 20)
    mine = Sources(ME, record)
    await mine.told_by("a", "r1")("long", "x" * 100)
    (found,) = await mine.named("r1", ["LONG"])
    assert found.text == "x" * 20
    with pytest.raises(ToolFailed, match="may be given 25"):
        await mine.told_by("a", "r1")("more", "y" * 10)
    await mine.told_by("a", "r2")("more", "y" * 10)


async def test_of_chats_the_newest_texts_are_kept(any_record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHAT_TEXTS", 2)
    tell = Sources(ME, any_record).told_by("a", None)
    await Sources(OTHER, any_record).told_by("a", None)("theirs", "t")
    await Sources(ME, any_record).told_by("a", "r1")("of a run", "t")
    for name in ("one", "two", "three"):
        await tell(name, f"text {name}")
    async with any_record.read() as db:
        names = set((await db.execute(select(source.c.name))).scalars())
    assert names == {"theirs", "of a run", "two", "three"}


async def test_it_goes_with_its_run(any_record: Record) -> None:
    await Sources(ME, any_record).told_by("a", "r1")(PAGE, "It rained.")
    await Sources(ME, any_record).told_by("a", None)(PAGE, "It rained.")
    async with any_record.write() as db:
        await db.execute(insert(tables.run).values(**ENDED))
    assert (await prune(any_record, timedelta(0))).runs == 1
    async with any_record.read() as db:
        assert (await db.execute(select(func.count()).select_from(source).where(source.c.run_id == "r1"))).scalar() == 0
        assert (await db.execute(select(func.count()).select_from(source))).scalar() == 1


async def test_what_is_forgotten_is_taken_out_of_it(record: Record) -> None:
    secret = "The spare key of the lamp room hangs behind the barometer."
    for caller in (ME, OTHER):
        await Sources(caller, record).told_by("a", "r1")(PAGE, f"It rained. {secret} Then it snowed.")
    assert await spread(record, ME, Redactor([secret])) == {"texts from outside": 1}
    (mine,), (theirs,) = [await Sources(caller, record).named("r1", [PAGE]) for caller in (ME, OTHER)]
    assert "barometer" not in mine.text
    assert secret in theirs.text


async def test_what_is_forgotten_is_taken_out_of_pages_that_were_kept(any_record: Record) -> None:
    secret, pages = "The spare key of the lamp room hangs behind the barometer.", Pages(any_record)
    for caller in (ME, OTHER):
        kept = Page(address=PAGE, kind="text", text=f"It rained. {secret}")
        await pages.keep(caller, PAGE, kept, datetime.now(UTC) + timedelta(hours=1), None, None)
    assert await spread(any_record, ME, Redactor([secret])) == {"pages of the web": 1}
    mine, theirs = [await pages.find(caller, PAGE) for caller in (ME, OTHER)]
    assert mine
    assert "barometer" not in mine.page.text
    assert theirs
    assert secret in theirs.page.text


def test_an_address_that_is_none_is_a_name() -> None:
    assert plain("https://[::1") == "https://[::1"
    assert plain("Annual Report.PDF") == "annual report.pdf"


async def test_a_secret_of_a_page_is_not_kept(record: Record) -> None:
    mine = Sources(ME, record)
    key = "sk-live-Q7w8E9r0T1y2U3i4O5p6"
    await mine.told_by("web_researcher", None)(PAGE, f"The ferry runs at nine. Its key is {key}.")
    async with record.read() as db:
        texts = (await db.execute(select(source.c.text))).scalars().all()
    assert texts == ["The ferry runs at nine. Its key is [redacted]."]
