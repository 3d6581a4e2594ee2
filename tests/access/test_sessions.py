"""Who is signed in at the board: in every process on the record, and for no longer than was said."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select

from atlas_mcp.access.sessions import Sessions
from atlas_mcp.model.access import SESSION_HOURS
from atlas_mcp.store.access_tables import board_session
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from atlas_mcp.store.record import Record

    Opening = Callable[[], AbstractAsyncContextManager[Record]]

pytestmark = pytest.mark.anyio


class Clock:
    """A moment, as a test says."""

    at = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture(params=["sqlite", "postgresql"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Opening:
    database = None if request.param == "sqlite" else Postgres(session_postgres().new_database())
    return lambda: open_record(tmp_path, database)


@asynccontextmanager
async def sessions(opening: Opening, clock: Clock) -> AsyncIterator[tuple[Sessions, Record]]:
    """Those of one process."""
    async with opening() as record:

        async def there() -> Record:
            return record

        yield Sessions(there, clock), record


async def test_a_session_holds_in_every_process_until_it_is_ended_in_one(opening: Opening) -> None:
    clock = Clock()
    async with sessions(opening, clock) as (one, _), sessions(opening, clock) as (other, _):
        cookie, kept = await one.begin("token", None), await one.begin("another", None)
        assert [await other.token(it) for it in (cookie, kept, "guess", "")] == ["token", "another", None, None]
        await other.end(cookie)
        assert (await one.token(cookie), await one.token(kept)) == (None, "another")
    async with sessions(opening, clock) as (later, _):
        assert await later.token(kept) == "another"


async def test_a_session_ends_by_itself_or_with_its_token_and_leaves_nothing(opening: Opening) -> None:
    clock = Clock()
    async with sessions(opening, clock) as (known, record):
        long, short = await known.begin("token", None), await known.begin("other", clock.at + timedelta(minutes=5))
        clock.at += timedelta(minutes=6)
        assert (await known.token(long), await known.token(short)) == ("token", None)
        clock.at += timedelta(hours=SESSION_HOURS)
        assert await known.token(long) is None
        await known.begin("new", None)
        async with record.read() as db:
            assert (await db.execute(select(func.count()).select_from(board_session))).scalar_one() == 1


async def test_who_reads_the_record_learns_neither_tokens_nor_cookies(opening: Opening) -> None:
    async with sessions(opening, Clock()) as (known, record):
        cookie = await known.begin("SECRET-TOKEN", None)
        async with record.read() as db:
            [row] = (await db.execute(select(board_session))).all()
        assert "SECRET-TOKEN" not in str(row)
        assert cookie not in str(row)
        assert await known.token(row.id) is None
