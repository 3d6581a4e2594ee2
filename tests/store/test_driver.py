"""A connection to SQLite that does each statement in one visit to its thread."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread
import pytest

from atlas_mcp.store.driver import connect

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.anyio


async def test_rows_come_one_after_the_other_with_their_names(tmp_path: Path) -> None:
    connection = await connect(tmp_path / "a.db", busy_seconds=1)
    async with connection.execute("SELECT 1 AS n UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 ORDER BY n") as cursor:
        assert cursor.description[0][0] == "n"
        assert await cursor.fetchone() == (1,)
        assert await cursor.fetchmany(2) == [(2,), (3,)]
        assert [row async for row in cursor] == [(4,)]
        assert await cursor.fetchone() is None
    await connection.close()


async def test_rows_stored_together_are_all_there_or_none_and_lock_nobody_out(tmp_path: Path) -> None:
    connection = await connect(tmp_path / "a.db", busy_seconds=1)
    await connection.execute("CREATE TABLE t (n INTEGER PRIMARY KEY)")
    with pytest.raises(sqlite3.IntegrityError):
        await connection.cursor().executemany("INSERT INTO t VALUES (?)", [(1,), (2,), (1,)])
    await connection.cursor().executemany("INSERT INTO t VALUES (?)", [(3,), (4,)])
    assert not connection.in_transaction
    other = await connect(tmp_path / "a.db", busy_seconds=0)
    await other.execute("INSERT INTO t VALUES (5)")
    found = await (await other.execute("SELECT n FROM t ORDER BY n")).fetchall()
    assert found == [(3,), (4,), (5,)]
    await connection.close()
    await other.close()


def test_a_thread_that_has_its_answer_when_the_loop_is_closed_ends_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on, told = threading.Event(), threading.Event(), list[Any]()
    before = set(threading.enumerate())
    monkeypatch.setattr(threading, "excepthook", told.append)

    def slow() -> int:
        begun.set()
        assert go_on.wait(60)
        return 1

    async def cut() -> list[threading.Thread]:
        connection = await connect(tmp_path / "a.db", busy_seconds=1)
        thread = [one for one in threading.enumerate() if one not in before]
        await connection.create_function("slow", 0, slow)
        asking = asyncio.create_task(connection.visit("SELECT slow()", (), many=False))
        assert await anyio.to_thread.run_sync(begun.wait, 60)
        asking.cancel()
        await asyncio.wait({asking})
        connection.stop()
        return thread

    [thread] = anyio.run(cut)
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    assert told == []
