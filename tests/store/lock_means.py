"""Locks wherever they can be: in a folder, or on a PostgreSQL; also for processes that the tests start."""

from __future__ import annotations

from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator


@asynccontextmanager
async def locks_at(where: str, *, many: int = 1) -> AsyncGenerator[list[Locks]]:
    """So many, each as another process would have it, in the folder or on the PostgreSQL of that address."""
    async with AsyncExitStack() as stack:
        made = list[Locks]()
        for _ in range(many):
            if where.startswith("postgresql:"):
                made.append(Locks(await stack.enter_async_context(AdvisoryLocks(Postgres(where)).opened())))
            else:
                made.append(Locks(Path(where)))
        yield made
