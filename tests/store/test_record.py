"""The record: whole writes, snapshots, several processes, cancellation, migrations."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import delete, func, insert, select, text
from sqlalchemy.exc import IntegrityError

from atlas_mcp.errors import LockTimeout, NewerRecord
from atlas_mcp.store import _schema
from atlas_mcp.store import sqlite as record_room
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import block, metadata

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

pytestmark = pytest.mark.anyio


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An existing home folder."""
    return tmp_path


def a_block(label: str) -> dict[str, object]:
    return {"caller": "c", "server": "s", "owner": "o", "label": label, "letta_id": f"id-{label}", "limit": 10}


async def put(connection: AsyncConnection, label: str) -> None:
    await connection.execute(insert(block).values(**a_block(label)))


async def labels(record: Record) -> list[str]:
    async with record.read() as connection:
        return list((await connection.execute(select(block.c.label).order_by(block.c.label))).scalars())


async def test_what_was_written_is_there_after_the_record_was_opened_again(home: Path):
    async with open_record(home) as record, record.write() as connection:
        await put(connection, "kept")
    async with open_record(home) as record:
        assert await labels(record) == ["kept"]


async def test_an_error_in_the_body_leaves_nothing_of_the_write(home: Path):
    async with open_record(home) as record:

        async def fail() -> None:
            async with record.write() as connection:
                await put(connection, "lost")
                _ = 1 / 0

        with pytest.raises(ZeroDivisionError):
            await fail()
        assert await labels(record) == []


async def test_a_write_refused_at_its_commit_leaves_nothing_and_the_next_one_goes_through(home: Path):
    async with open_record(home) as record:
        async with record.write() as connection:
            await put(connection, "there")

        async def refused() -> None:
            async with record.write() as connection:
                await put(connection, "lost")
                await put(connection, "there")

        with pytest.raises(IntegrityError):
            await refused()
        async with record.write() as connection:
            await put(connection, "after")
        assert await labels(record) == ["after", "there"]


@pytest.mark.parametrize("checkpoints", range(14))
async def test_a_write_cancelled_at_any_point_is_whole_or_not_there_and_blocks_nobody(home: Path, checkpoints: int):
    async with open_record(home) as record:
        finished = False

        async def write_two(scope: anyio.CancelScope) -> None:
            nonlocal finished
            with scope:
                async with record.write() as connection:
                    await put(connection, "first")
                    await put(connection, "second")
                finished = True

        scope = anyio.CancelScope()
        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(write_two, scope)
                for _ in range(checkpoints):
                    await anyio.lowlevel.checkpoint()
                    await anyio.to_thread.run_sync(lambda: None)
                scope.cancel()
            left = await labels(record)
            assert left in ([], ["first", "second"])
            assert len(left) == 2 or not finished
            async with record.write() as connection:
                await connection.execute(delete(block))
                await put(connection, "after")
            assert await labels(record) == ["after"]


async def test_a_read_sees_one_moment_while_others_write(home: Path):
    async with open_record(home) as record:
        async with record.read() as before:
            assert (await before.execute(select(func.count()).select_from(block))).scalar_one() == 0
            async with record.write() as connection:
                await put(connection, "new")
            assert (await before.execute(select(func.count()).select_from(block))).scalar_one() == 0
        assert await labels(record) == ["new"]


async def test_a_record_that_another_keeps_to_itself_is_an_error_that_says_so(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(record_room, "_BUSY_MS", 20)
    async with open_record(home) as record:
        with closing(sqlite3.connect(home / "atlas.db")) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(LockTimeout, match="another process"):
                async with record.write() as connection:
                    await put(connection, "refused")
            assert await labels(record) == [], "reading goes on"
        async with record.write() as connection:
            await put(connection, "after")


async def test_more_readers_at_once_than_connections_all_get_through(home: Path):
    async with open_record(home) as record:
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                for _ in range(40):
                    group.start_soon(labels, record)


async def test_sixty_four_writers_at_once_all_get_through(home: Path):
    async with open_record(home) as record:

        async def write_one(n: int) -> None:
            async with record.write() as connection:
                await put(connection, f"l{n:02}")

        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for n in range(64):
                    group.start_soon(write_one, n)
        assert len(await labels(record)) == 64


WRITER = """
import sys, anyio
from pathlib import Path
from sqlalchemy import insert
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import artifact
from datetime import UTC, datetime

async def main(home, who):
    async with open_record(home) as record:
        for n in range(20):
            async with record.write() as connection:
                await connection.execute(insert(artifact).values(
                    id=f"{who}-{n}", run_id="r", name=f"{who}-{n}", text="x", created_at=datetime.now(UTC)))

anyio.run(main, Path(sys.argv[1]), sys.argv[2])
"""


def test_three_processes_open_a_new_home_at_the_same_moment_and_write_without_an_error(home: Path):
    processes = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(home), name], stderr=subprocess.PIPE) for name in "abc"
    ]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors.decode()
    with closing(sqlite3.connect(home / "atlas.db")) as connection:
        assert connection.execute("SELECT count(*) FROM artifact").fetchone() == (60,)


async def test_a_record_of_a_newer_atlas_is_refused_and_left_as_it_is(home: Path):
    async with open_record(home):
        pass
    path = home / "atlas.db"
    connection = sqlite3.connect(path)
    connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.commit()
    connection.close()
    before = path.read_bytes()
    with pytest.raises(NewerRecord, match="9999"):
        async with open_record(home):
            pass
    assert path.read_bytes() == before


def test_the_migrations_make_the_schema_of_the_tables(home: Path):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext
    from sqlalchemy import create_engine

    _schema.upgrade(home / "atlas.db", home / "locks")
    engine = create_engine(f"sqlite:///{home / 'atlas.db'}")

    def no_index(name: str | None, *_: object) -> bool:
        return not str(name).startswith(("passage_words", "passage_parts"))  # kept by SQLite beside `passage`

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": no_index})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_known_revisions_are_those_of_the_scripts():
    from alembic.script import ScriptDirectory

    folder = ScriptDirectory(_schema.MIGRATIONS)
    assert tuple(r.revision for r in reversed(list(folder.walk_revisions()))) == _schema.REVISIONS


def test_a_migration_that_was_killed_halfway_starts_again_from_nothing(home: Path):
    sqlite3.connect(home / "atlas.db").close()  # the file is there, its schema is not
    _schema.upgrade(home / "atlas.db", home / "locks")
    _schema.upgrade(home / "atlas.db", home / "locks")
    with sqlite3.connect(home / "atlas.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [(_schema.REVISIONS[-1],)]


def test_a_current_record_opens_without_importing_alembic(home: Path):
    _schema.upgrade(home / "atlas.db", home / "locks")
    code = (
        "import sys, anyio; from pathlib import Path; from atlas_mcp.store.record import open_record\n"
        "assert 'sqlalchemy' not in sys.modules, 'importing the door loads the engine'\n"
        "async def main():\n"
        "    async with open_record(Path(sys.argv[1])): pass\n"
        "anyio.run(main); assert 'alembic' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code, str(home)], check=True, timeout=60)


async def test_a_write_cut_by_a_bare_task_cancel_leaves_the_record_usable(home: Path):
    async with open_record(home) as record:
        async with record.write() as connection:
            await connection.execute(text("CREATE TABLE cut (n INTEGER)"))

        async def write(n: int):
            async with record.write() as connection:
                await connection.execute(text("INSERT INTO cut VALUES (:n)"), {"n": n})
                await connection.execute(text("INSERT INTO cut VALUES (:n)"), {"n": n})

        for steps in range(60):
            task = asyncio.create_task(write(steps))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            with anyio.fail_after(5):
                await write(1000 + steps)
        async with record.read() as connection:
            found = (await connection.execute(text("SELECT n, count(*) FROM cut GROUP BY n"))).all()
    assert {count for _, count in found} == {2}, "each write is whole or absent"
    assert len([n for n, _ in found if n >= 1000]) == 60


async def test_one_who_looks_all_the_time_keeps_nobody_from_going_on(home: Path):
    async with open_record(home) as record:
        others = anyio.Event()
        with anyio.fail_after(20):
            async with anyio.create_task_group() as group:
                group.start_soon(write_and_tell, record, others)
                while not others.is_set():
                    async with record.look() as connection:
                        _ = (await connection.execute(select(block.c.label))).all()
        assert await labels(record) == ["written"]


async def write_and_tell(record: Record, written: anyio.Event) -> None:
    async with record.write() as connection:
        await put(connection, "written")
    written.set()
