"""A home with an open record, and runs on it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.model.caller import Caller
from atlas_mcp.runs import open_runs
from atlas_mcp.store.home import Home, open_home
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.record import Record, open_record

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from atlas_mcp.runs.outcome import Executor
    from atlas_mcp.runs.runs import Runs

    Opening = Callable[..., AbstractAsyncContextManager[Runs]]


@pytest.fixture
def me() -> Caller:
    return Caller(id="local:me", client="desk")


@pytest.fixture
def opened_home(home: Path) -> Home:
    return open_home(home)


@pytest.fixture
async def record(opened_home: Home) -> AsyncGenerator[Record]:
    async with open_record(opened_home.path) as record:
        yield record


@pytest.fixture
def opening(opened_home: Home, record: Record) -> Opening:
    """Opens runs whose kind `turn` is done by the executor."""

    @asynccontextmanager
    async def opening(executor: Executor, **options: Any) -> AsyncGenerator[Runs]:
        async with open_runs(opened_home, record, Locks(opened_home.locks), {"turn": executor}, **options) as runs:
            yield runs

    return opening
