"""Where the record, and with it the locks, of a test or of a process that it started are."""

from __future__ import annotations

import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from atlas_mcp.store.home import Home
    from atlas_mcp.store.record import Record

DATABASE = "ATLAS_TEST_DATABASE"
"""The environment variable that tells a process of the PostgreSQL to use; without it, it uses files of its home."""


def database_told() -> Postgres | None:
    """The PostgreSQL that this process was told of."""
    address = os.environ.get(DATABASE)
    return Postgres(address) if address else None


@asynccontextmanager
async def locks_beside(record: Record, home: Home) -> AsyncGenerator[Locks]:
    """The locks of those who share the record."""
    if record.database is None:
        yield Locks(home.locks)
    else:
        async with AdvisoryLocks(record.database).opened() as means:
            yield Locks(means)
