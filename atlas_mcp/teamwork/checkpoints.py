"""Where team tasks stand: LangGraph's checkpoints in one SQLite file, which several processes may use at once, or on
the PostgreSQL that has the record.

In the file, one connection for a process, opened when a task first needs it. Each write is over when its statement is,
so a task that is cancelled in the middle leaves nothing locked. A commit survives the death of the process; it may be
lost with the machine's power, and then the turns after it are found again by their keys. With a fence, only the process
that executes a run writes where it stands, and what is left of runs that have ended is swept away at the opening.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import anyio

from atlas_mcp.store.files import damage_told
from atlas_mcp.store.postgres import Postgres

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

    from atlas_mcp.teamwork.fenced_postgres import FencedPostgresSaver

    Saver = AsyncSqliteSaver | FencedPostgresSaver

BUSY_SECONDS = 10.0
OPEN_TRIES = 20


@dataclass(frozen=True)
class Fence:
    """The record that says who executes which run, and the name of this process in it."""

    record: Path
    executor: str


class Checkpoints:
    """Owns the connections. Enter it; `saver()` opens them; leaving closes them."""

    def __init__(self, where: Path | Postgres, fence: Fence | None = None) -> None:
        self._where = where
        self._fence = fence
        self._saver: Saver | None = None
        self._opening = anyio.Lock()

    async def saver(self) -> Saver:
        """LangGraph's saver there, with its tables."""
        async with self._opening:
            if self._saver is None:
                self._saver = await self._open()
            return self._saver

    async def forget(self, run_id: str) -> None:
        """Delete where a run stands, once it has ended: its result is kept elsewhere."""
        saver = await self.saver()
        await saver.adelete_thread(run_id)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._saver is not None:
            with anyio.CancelScope(shield=True):
                await self._saver.conn.close()
            self._saver = None

    async def _open(self) -> Saver:
        if isinstance(self._where, Postgres):
            opened = await anyio.to_thread.run_sync(_import_postgres)
            return await opened(self._where, self._fence.executor if self._fence else None)
        return await self._open_file(self._where)

    async def _open_file(self, path: Path) -> AsyncSqliteSaver:
        connect, saver_class, put_up = await anyio.to_thread.run_sync(_import)
        connection = await connect(path, busy_seconds=BUSY_SECONDS)
        try:
            saver = saver_class(connection)
            with damage_told(path):
                await _set_up(saver)
                if self._fence is not None:
                    await put_up(connection, self._fence)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await connection.close()
            raise
        return saver


async def _set_up(saver: AsyncSqliteSaver) -> None:
    """Create the tables. Switching to WAL does not wait for other processes that do the same, so it is tried again."""
    await saver.conn.execute("PRAGMA synchronous=NORMAL")
    for attempt in range(OPEN_TRIES):
        try:
            return await saver.setup()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or attempt == OPEN_TRIES - 1:
                raise
        await anyio.sleep(0.05)
    return None


def _import():  # noqa: ANN202  the types are private to the packages
    from atlas_mcp.store.driver import connect
    from atlas_mcp.teamwork.fenced import FencedSaver, put_up

    return connect, FencedSaver, put_up


def _import_postgres():  # noqa: ANN202  the types are private to the packages
    from atlas_mcp.teamwork.fenced_postgres import opened

    return opened
