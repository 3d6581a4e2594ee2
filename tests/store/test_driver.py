"""A connection to SQLite that does each statement in one visit to its thread."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

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
