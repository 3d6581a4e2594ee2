"""The record's promises, kept by SQLite and by PostgreSQL alike."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import delete, func, insert, select, text, update
from sqlalchemy.exc import IntegrityError

from atlas_mcp.errors import NewerRecord
from atlas_mcp.store import _schema
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import addition, agent, artifact, block, metadata
from tests.store.doors import writing

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
NOW = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)


def a_block(label: str, limit: int = 10) -> dict[str, object]:
    return {"caller": "c", "server": "s", "owner": "o", "label": label, "letta_id": f"id-{label}", "limit": limit}


async def put(connection: AsyncConnection, label: str) -> None:
    await connection.execute(insert(block).values(**a_block(label)))


async def labels(record: Record) -> list[str]:
    async with record.read() as connection:
        return list((await connection.execute(select(block.c.label).order_by(block.c.label))).scalars())


async def test_what_was_written_is_there_after_the_record_was_opened_again(
    home: Path, database: Postgres | None, door: str
):
    async with open_record(home, database) as record, writing(record, door) as connection:
        await put(connection, "kept")
    async with open_record(home, database) as record:
        assert await labels(record) == ["kept"]


async def test_moments_json_and_texts_come_back_as_they_were(home: Path, database: Postgres | None):
    spec = {"text": "ü\n🙂", "none": None, "list": [1, 2.5, {"a": True}], "nul": "a\0b"}
    local = NOW.astimezone(timezone(timedelta(hours=5)))
    async with open_record(home, database) as record:
        async with record.write() as connection:
            row = {"caller": "c", "kind": "agent", "name": "n", "spec": spec, "created_at": local}
            await connection.execute(insert(addition).values(row))
        async with record.look() as connection:
            found = (await connection.execute(select(addition))).one()
    assert (found.spec, found.created_at) == (spec, NOW)
    assert found.created_at.tzinfo is UTC


async def test_a_text_with_a_nul_is_stored(home: Path, database: Postgres | None, door: str):
    async with open_record(home, database) as record:
        row = {"id": "a", "run_id": "r", "name": "n", "created_at": NOW}
        more = [{**row, "id": str(n), "name": str(n), "text": "x\0"} for n in range(3)]
        async with writing(record, door) as connection:
            await connection.execute(insert(artifact).values(**row, text="before\0after"))
            await connection.execute(insert(artifact), more)
            again = [{**one, "id": f"again-{one['id']}", "name": f"again-{one['id']}"} for one in more]
            assert len((await connection.execute(insert(artifact).returning(artifact.c.id), again)).all()) == 3
        async with record.read() as connection:
            kept = set((await connection.execute(select(artifact.c.text))).scalars())
    as_it_is, marked = {"before\0after", "x\0"}, {"before\ufffdafter", "x\ufffd"}
    assert kept in (as_it_is, marked), "as it is, or marked where the database cannot keep it"


async def test_a_naive_moment_is_refused(home: Path, database: Postgres | None, door: str):
    async with open_record(home, database) as record:

        async def write() -> None:
            async with writing(record, door) as connection:
                naive = {"caller": "c", "kind": "agent", "name": "n", "spec": {}, "created_at": datetime(2026, 1, 1)}  # noqa: DTZ001
                await connection.execute(insert(addition).values(naive))

        with pytest.raises(Exception, match="without a zone"):
            await write()


async def test_an_error_in_the_body_leaves_nothing_of_the_write(home: Path, database: Postgres | None, door: str):
    async with open_record(home, database) as record:

        async def fail() -> None:
            async with writing(record, door) as connection:
                await put(connection, "lost")
                _ = 1 / 0

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await labels(record) == []


async def test_a_refused_write_leaves_nothing_and_the_next_one_goes_through(
    home: Path, database: Postgres | None, door: str
):
    async with open_record(home, database) as record:
        async with writing(record, door) as connection:
            await put(connection, "there")

        async def refused() -> None:
            async with writing(record, door) as connection:
                await put(connection, "lost")
                await put(connection, "there")

        with pytest.raises(IntegrityError):
            await refused()
        async with writing(record, door) as connection:
            await put(connection, "after")
        assert await labels(record) == ["after", "there"]


@pytest.mark.parametrize("checkpoints", range(14))
async def test_a_write_cancelled_at_any_point_is_whole_or_not_there(
    home: Path, database: Postgres | None, checkpoints: int, door: str
):
    async with open_record(home, database) as record:
        finished = False

        async def write_two(scope: anyio.CancelScope) -> None:
            nonlocal finished
            with scope:
                async with writing(record, door, "c") as connection:
                    await put(connection, "first")
                    await put(connection, "second")
                finished = True

        scope = anyio.CancelScope()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(write_two, scope)
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                    await anyio.to_thread.run_sync(lambda: None)
                scope.cancel()
            left = await labels(record)
            assert left in ([], ["first", "second"])
            assert len(left) == 2 or not finished
            async with writing(record, door) as connection:
                await connection.execute(delete(block))
                await put(connection, "after")
            assert await labels(record) == ["after"]


async def test_a_write_cut_by_a_bare_task_cancel_leaves_the_record_usable(
    home: Path, database: Postgres | None, door: str
):
    async with open_record(home, database) as record:
        async with writing(record, door) as connection:
            await connection.execute(text("CREATE TABLE cut (n INTEGER)"))

        async def write(n: int):
            async with writing(record, door) as connection:
                await connection.execute(text("INSERT INTO cut VALUES (:n)"), {"n": n})
                await connection.execute(text("INSERT INTO cut VALUES (:n)"), {"n": n})

        for steps in range(40):
            task = asyncio.create_task(write(steps))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            with anyio.fail_after(60):
                await write(1000 + steps)
        async with record.read() as connection:
            found = (await connection.execute(text("SELECT n, count(*) FROM cut GROUP BY n"))).all()
    assert {count for _, count in found} == {2}, "each write is whole or absent"
    assert len([n for n, _ in found if n >= 1000]) == 40


async def test_a_read_and_a_look_see_one_moment_while_others_write(home: Path, database: Postgres | None):
    count = select(func.count()).select_from(block)
    async with open_record(home, database) as record:
        async with record.read() as reading, record.look() as looking:
            for connection in (reading, looking):
                assert (await connection.execute(count)).scalar_one() == 0
            async with record.write() as connection:
                await put(connection, "new")
            for connection in (reading, looking):
                assert (await connection.execute(count)).scalar_one() == 0
        assert await labels(record) == ["new"]


async def test_more_readers_and_writers_at_once_than_connections_all_get_through(
    home: Path, database: Postgres | None, door: str
):
    async with open_record(home, database) as record:

        async def write_one(n: int) -> None:
            async with writing(record, door, "c" if n % 2 else None) as connection:
                await put(connection, f"l{n:02}")

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for n in range(64):
                    group.start_soon(write_one, n)
                    group.start_soon(labels, record)
        assert len(await labels(record)) == 64


@pytest.mark.parametrize("of", ["c", None])
async def test_what_a_write_has_read_is_still_true_when_it_commits(
    home: Path, database: Postgres | None, of: str | None, door: str
):
    """Two hundred additions to a number that is read and written back, by twenty writers in two open records."""
    async with open_record(home, database) as one, open_record(home, database) as two:
        async with one.write() as connection:
            await connection.execute(insert(block).values(**a_block("counter", 0)))

        async def add(record: Record) -> None:
            for _ in range(10):
                async with writing(record, door, of) as connection:
                    limit = (await connection.execute(select(block.c.limit))).scalar_one()
                    await anyio.lowlevel.checkpoint()
                    await connection.execute(update(block).values(limit=limit + 1))

        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                for n in range(20):
                    group.start_soon(add, one if n % 2 else two)
        async with one.read() as connection:
            assert (await connection.execute(select(block.c.limit))).scalar_one() == 200


WRITER = """
import sys, anyio
from pathlib import Path
from sqlalchemy import insert
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import artifact
from datetime import UTC, datetime

async def main(home, who, url):
    async with open_record(home, Postgres(url) if url else None) as record:
        for n in range(20):
            async with record.write() as connection:
                await connection.execute(insert(artifact).values(
                    id=f"{who}-{n}", run_id="r", name=f"{who}-{n}", text="x", created_at=datetime.now(UTC)))

anyio.run(main, Path(sys.argv[1]), sys.argv[2], sys.argv[3])
"""


async def test_three_processes_open_a_new_record_at_the_same_moment_and_write_without_an_error(
    home: Path, database: Postgres | None
):
    url = database.url if database else ""
    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(anyio.run_process, [sys.executable, "-c", WRITER, str(home), name, url])
    async with open_record(home, database) as record, record.read() as connection:
        assert (await connection.execute(select(func.count()).select_from(artifact))).scalar_one() == 60


async def test_a_record_of_a_newer_atlas_is_refused_and_left_as_it_is(home: Path, database: Postgres | None):
    async with open_record(home, database) as record, record.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        await connection.execute(delete(agent))
    with pytest.raises(NewerRecord, match="9999"):
        async with open_record(home, database):
            pass


def test_the_migrations_make_the_schema_of_the_tables_on_postgresql(postgres: Postgres):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    _schema.upgrade_postgres(postgres)
    engine = postgres.engine()

    def no_index(name: str | None, *_: object) -> bool:
        return not str(name).startswith(("passage_words", "passage_parts"))  # kept by `memory` beside `passage`

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": no_index})
        found: list[Any] = [
            one for each in compare_metadata(context, metadata) for one in ([each] if isinstance(each, tuple) else each)
        ]
    engine.dispose()
    assert [one for one in found if one[0] != "modify_comment"] == []  # what columns mean is said in `tables` alone


def test_a_record_on_postgresql_that_is_current_opens_without_importing_alembic(postgres: Postgres):
    _schema.upgrade_postgres(postgres)
    code = (
        "import sys; from atlas_mcp.store import _schema; from atlas_mcp.store.postgres import Postgres\n"
        "_schema.upgrade_postgres(Postgres(sys.argv[1]))\n"
        "assert 'alembic' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, postgres.url], check=True, timeout=60)
