"""A home with an open record, and runs on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import open_runs
from atlas_mcp.store import line
from atlas_mcp.store.home import Home, open_home
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from tests.postgres import session_postgres
from tests.runs.means import DATABASE, locks_beside

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from atlas_mcp.runs.outcome import Executor
    from atlas_mcp.runs.runs import Runs

    Opening = Callable[..., AbstractAsyncContextManager[Runs]]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL on a busy machine may take its time to say who holds a lock."""
    monkeypatch.setattr(line, "ANSWER_SECONDS", 20.0)


@pytest.fixture
def me() -> Caller:
    return Caller(id="local:me", client="desk")


@pytest.fixture
def opened_home(home: Path) -> Home:
    return open_home(home)


@pytest.fixture
def database(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Postgres | None:
    """Where the record is: on PostgreSQL for tests that are parametrised so, else in the home."""
    if getattr(request, "param", "sqlite") == "sqlite":
        return None
    address = session_postgres().new_database()
    monkeypatch.setenv(DATABASE, address)  # for processes that the test starts
    return Postgres(address)


@pytest.fixture
async def record(opened_home: Home, database: Postgres | None) -> AsyncGenerator[Record]:
    async with open_record(opened_home.path, database) as record:
        yield record


@pytest.fixture
def opening(opened_home: Home, record: Record) -> Opening:
    """Opens runs whose kind `turn` is done by the executor."""

    @asynccontextmanager
    async def opening(executor: Executor, **options: Any) -> AsyncGenerator[Runs]:
        async with (
            locks_beside(record, opened_home) as locks,
            open_runs(opened_home, record, locks, {"turn": executor}, **options) as runs,
        ):
            yield runs

    return opening
