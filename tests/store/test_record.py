"""The record: whole writes, snapshots, several processes, cancellation, migrations."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import insert, select

from atlas_mcp.errors import LockTimeout, NewerRecord, StoreUnavailable
from atlas_mcp.store import _schema
from atlas_mcp.store import sqlite as record_room
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import block, metadata
from tests.store.doors import writing

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncConnection

pytestmark = pytest.mark.anyio


def a_block(label: str) -> dict[str, object]:
    return {"caller": "c", "server": "s", "owner": "o", "label": label, "letta_id": f"id-{label}", "limit": 10}


async def put(connection: AsyncConnection, label: str) -> None:
    await connection.execute(insert(block).values(**a_block(label)))


async def labels(record: Record) -> list[str]:
    async with record.read() as connection:
        return list((await connection.execute(select(block.c.label).order_by(block.c.label))).scalars())


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


async def test_a_full_disk_is_a_clear_error_that_loses_nothing_and_service_resumes(
    home: Path, monkeypatch: pytest.MonkeyPatch, door: str
):
    async with open_record(home) as record, writing(record, door) as connection:
        await put(connection, "before")
    pages = (home / "atlas.db").stat().st_size // 4096
    with monkeypatch.context() as narrow:
        narrow.setattr(record_room, "_PRAGMAS", (*record_room._PRAGMAS, f"max_page_count={pages + 2}"))
        async with open_record(home) as record:

            async def fill() -> None:
                async with writing(record, door) as connection:
                    await put(connection, "first")
                    await put(connection, "x" * 100_000)

            with pytest.raises(StoreUnavailable, match="full") as refused:
                await fill()
            assert "Make room" in str(refused.value)
            assert await labels(record) == ["before"]
            async with writing(record, door) as connection:
                await put(connection, "small")
    async with open_record(home) as record:
        async with writing(record, door) as connection:
            await put(connection, "x" * 100_000)
        assert await labels(record) == ["before", "small", "x" * 100_000]


async def test_a_write_waits_for_a_record_that_another_keeps_for_a_while(home: Path, door: str):
    async with open_record(home) as record:

        async def write() -> None:
            async with writing(record, door) as connection:
                await put(connection, "waited")

        with closing(sqlite3.connect(home / "atlas.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with anyio.fail_after(60):
                async with anyio.create_task_group() as group:
                    group.start_soon(write)
                    with anyio.move_on_after(0.2):
                        await anyio.sleep_forever()
                    assert await labels(record) == []
                    other.execute("COMMIT")
        assert await labels(record) == ["waited"]


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


async def test_one_who_looks_all_the_time_keeps_nobody_from_going_on(home: Path):
    async with open_record(home) as record:
        others = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(write_and_tell, record, others)
                while not others.is_set():
                    async with record.look() as connection:
                        _ = (await connection.execute(select(block.c.label))).all()
        assert await labels(record) == ["written"]


async def test_the_log_is_carried_into_the_file_also_when_there_are_only_jots(home: Path):
    log, sizes = home / "atlas.db-wal", list[int]()
    async with open_record(home) as record:
        for n in range(300):
            async with record.jot() as connection:
                await put(connection, f"{n:03}" + "x" * 20_000)
            sizes.append(log.stat().st_size)
        assert max(sizes) < 10_000_000, "of thirty million bytes: 20,000 a row, and once more in its key, and the pages"
        assert len(await labels(record)) == 300


async def write_and_tell(record: Record, written: anyio.Event) -> None:
    async with record.write() as connection:
        await put(connection, "written")
    written.set()
