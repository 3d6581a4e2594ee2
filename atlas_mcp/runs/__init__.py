"""Long work: runs that outlive the call, the client and the process that began them.

Importing this costs nothing; the database and the engine are loaded by `open_runs` and by the first run.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from atlas_mcp.runs.outcome import Executor, RunOutcome

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Mapping

    from atlas_mcp.model.run import RunKind
    from atlas_mcp.runs.admission import Limits
    from atlas_mcp.runs.runs import Runs
    from atlas_mcp.store.home import Home
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record

__all__ = ["Executor", "RunOutcome", "open_runs"]


@asynccontextmanager
async def open_runs(
    home: Home,
    record: Record,
    locks: Locks,
    executors: Mapping[RunKind, Executor],
    *,
    providers: Collection[str] = (),
    answer_hours: float = 72.0,
    limits: Limits | None = None,
) -> AsyncGenerator[Runs]:
    """The runs of this home, executed by this process while the body runs.

    `executors` says how each kind of run is done, `providers` which model providers this process has keys for, and
    `answer_hours` how long the questions that are asked here wait for an answer. `limits` holds for all processes of
    the record together. Leaving stops what is running here; it stays unfinished and goes on in the next process that
    can do it.
    """
    from atlas_mcp.runs.admission import Limits
    from atlas_mcp.runs.runs import opened

    async with opened(
        home,
        record,
        locks,
        executors,
        providers=frozenset(providers),
        answer_within=timedelta(hours=answer_hours),
        limits=limits or Limits(),
        name=secrets.token_hex(8),  # one that no other process ever has
    ) as runs:
        yield runs
