"""A PostgreSQL that stops, breaks its connections, fills up, or does not let us in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
import pytest
from sqlalchemy import insert, select

from atlas_mcp.errors import ConfigurationError, LockLost, StoreUnavailable
from atlas_mcp.settings import exposed_settings, load_settings
from atlas_mcp.store import advisory_locks, postgres, postgres_record
from atlas_mcp.store.advisory_locks import AdvisoryLocks
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import block
from tests.postgres import RunningPostgres, running_postgres, session_postgres
from tests.store.lock_means import locks_at

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

pytestmark = pytest.mark.anyio
SECONDS_GONE = 10
HOLDS_A_LOCK = "pid IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory')"
NOWHERE = Path("/nowhere")  # a record on PostgreSQL keeps nothing in a home


@pytest.fixture(scope="module")
def server() -> Iterator[RunningPostgres]:
    """A server that may be stopped: nobody else uses it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
async def record(server: RunningPostgres) -> AsyncGenerator[Record]:
    async with open_record(NOWHERE, Postgres(server.new_database())) as record:
        yield record


async def put(record: Record, label: str) -> None:
    row = {"caller": "c", "server": "s", "owner": "o", "label": label, "letta_id": f"id-{label}", "limit": 1}
    async with record.write() as connection:
        await connection.execute(insert(block).values(**row))


async def labels(record: Record) -> list[str]:
    async with record.read() as connection:
        return list((await connection.execute(select(block.c.label).order_by(block.c.label))).scalars())


async def test_ten_seconds_without_the_server_are_waited_for_and_nothing_is_lost(
    server: RunningPostgres, record: Record, monkeypatch: pytest.MonkeyPatch
):
    assert postgres_record.PATIENCE > SECONDS_GONE
    monkeypatch.setattr(postgres_record, "PATIENCE", 60)  # a slow machine takes its time to start the server
    await put(record, "before")
    await anyio.to_thread.run_sync(server.stop)
    with anyio.fail_after(120):
        async with anyio.create_task_group() as group:
            for n in range(20):
                group.start_soon(put, record, f"meanwhile{n:02}")
            group.start_soon(labels, record)
            await anyio.sleep(SECONDS_GONE)  # the fault itself: it is gone for that long
            await anyio.to_thread.run_sync(server.start)
    assert await labels(record) == ["before", *(f"meanwhile{n:02}" for n in range(20))]


async def test_a_server_that_stays_away_is_a_clear_error_without_the_password_and_service_resumes(
    server: RunningPostgres, record: Record, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres_record, "PATIENCE", 0.3)
    await anyio.to_thread.run_sync(server.kill)
    with anyio.fail_after(60), pytest.raises(StoreUnavailable, match="does not answer"):
        await put(record, "refused")
    await anyio.to_thread.run_sync(server.start)
    monkeypatch.setattr(postgres_record, "PATIENCE", 60)
    await put(record, "after")
    assert await labels(record) == ["after"]


async def test_a_write_whose_connection_breaks_in_its_middle_is_not_there_and_says_so(
    server: RunningPostgres, record: Record
):
    async def cut() -> None:
        async with record.write() as connection:
            row = {"caller": "c", "server": "s", "owner": "o", "label": "cut", "letta_id": "id", "limit": 1}
            await connection.execute(insert(block).values(**row))
            _end_sessions(server)
            await connection.execute(select(block))

    with pytest.raises(StoreUnavailable):
        await cut()
    assert await labels(record) == []
    await put(record, "after")


async def test_a_server_without_room_is_a_clear_error(server: RunningPostgres, record: Record):
    assert record.database
    name = record.database.url.rpartition("/")[2]
    # What a full disk says (53100), said by a trigger: a disk of one's own to fill up takes rights that tests lack.
    server.execute(
        "CREATE FUNCTION atlas.full() RETURNS trigger LANGUAGE plpgsql AS"
        " $$BEGIN RAISE EXCEPTION 'could not extend file: No space left on device' USING ERRCODE = '53100'; END$$;"
        " CREATE TRIGGER full_disk BEFORE INSERT ON atlas.block EXECUTE FUNCTION atlas.full()",
        name,
    )
    with pytest.raises(StoreUnavailable, match=r"has no room: .*No space left"):
        await put(record, "refused")
    server.execute("DROP TRIGGER full_disk ON atlas.block", name)
    await put(record, "after")
    assert await labels(record) == ["after"]


async def test_a_process_frozen_in_the_middle_of_a_write_holds_the_others_up_for_seconds_only(
    server: RunningPostgres, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(postgres._SERVER_SIDE, "idle_in_transaction_session_timeout", 500)
    database = Postgres(server.new_database())
    async with open_record(NOWHERE, database) as frozen, open_record(NOWHERE, database) as living:

        async def freeze() -> None:
            async with frozen.write() as connection:
                with anyio.fail_after(60):
                    await put(living, "goes on")
                await connection.execute(select(block))

        with pytest.raises(StoreUnavailable):
            await freeze()


# ---- locks ----------------------------------------------------------------------------------------------------------


async def test_what_is_held_survives_a_restart_of_the_server_and_nobody_gets_in_between(
    server: RunningPostgres, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(advisory_locks, "_FIRST_FOR_OWNERS", 4.0)  # also on a machine that is slow to connect
    address = server.new_database()
    async with locks_at(address, many=2) as (ours, theirs):
        mark = ours.try_hold("executor-1")
        assert mark
        with anyio.fail_after(60):
            async with ours.hold("turn-1"):
                await anyio.to_thread.run_sync(server.stop)
                with pytest.raises(StoreUnavailable):
                    theirs.try_hold("turn-1")
                await anyio.to_thread.run_sync(server.start)
                await _answering(theirs)
                assert theirs.try_hold("turn-1") is None
                assert theirs.is_held("executor-1")
            await _free(theirs, "turn-1")


async def test_one_who_waits_for_a_lock_waits_for_the_server_too(
    server: RunningPostgres, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(advisory_locks, "_FIRST_FOR_OWNERS", 4.0)
    got = anyio.Event()

    async def wait(locks: Locks) -> None:
        async with locks.hold("a"):
            got.set()

    async with locks_at(server.new_database(), many=2) as (ours, theirs):
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                held = ours.try_hold("a")
                assert held
                group.start_soon(wait, theirs)
                await anyio.to_thread.run_sync(server.stop)
                await anyio.to_thread.run_sync(server.start)
                await _answering(ours)
                assert not got.is_set()
                held.release()
                await got.wait()


async def test_a_lock_that_another_got_while_our_connection_was_broken_ends_the_body_that_relied_on_it(
    server: RunningPostgres, monkeypatch: pytest.MonkeyPatch
):
    database = Postgres(server.new_database())
    connecting = advisory_locks.Line

    async with locks_at(database.url, many=2) as (ours, theirs):
        stopped = anyio.Event()

        async def rely() -> None:
            async with ours.hold("turn-1"):
                holding.set()
                await anyio.sleep_forever()

        async def lose() -> None:
            with pytest.raises(LockLost, match="turn-1"):
                await rely()
            stopped.set()

        holding = anyio.Event()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as group:
                group.start_soon(lose)
                await holding.wait()
                monkeypatch.setattr(advisory_locks, "Line", _refused)
                _end_sessions(server, HOLDS_A_LOCK)
                monkeypatch.setattr(advisory_locks, "Line", connecting)
                held = await _taken(theirs, "turn-1")
                await stopped.wait()
                held.release()


async def test_silence_of_the_server_ends_what_relies_on_a_lock_and_keeps_the_marks(
    server: RunningPostgres, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(advisory_locks, "LOST_AFTER", 0.5)
    connecting = advisory_locks.Line
    async with locks_at(server.new_database(), many=2) as (ours, theirs):
        mark = ours.try_hold("executor-1")
        assert mark

        async def rely() -> None:
            async with ours.hold("turn-1"):
                monkeypatch.setattr(advisory_locks, "Line", _silent)
                _end_sessions(server, HOLDS_A_LOCK)
                await anyio.sleep_forever()

        with anyio.fail_after(60):
            with pytest.raises(LockLost):
                await rely()
            monkeypatch.setattr(advisory_locks, "Line", connecting)
            await _answering(ours)
            while not theirs.is_held("executor-1"):  # noqa: ASYNC110 - no event tells of other processes
                await anyio.sleep(0.01)
            assert not theirs.is_held("turn-1")


def _silent(_: Postgres) -> None:
    raise StoreUnavailable("it does not answer: connection timeout expired.")


def _refused(_: Postgres) -> None:
    raise StoreUnavailable("it does not answer: Connection refused.")


async def _answering(locks: Locks) -> None:
    while True:
        try:
            locks.is_held("anything")
        except StoreUnavailable:
            await anyio.sleep(0.01)
        else:
            return


async def _free(locks: Locks, name: str) -> None:
    while locks.is_held(name):  # noqa: ASYNC110 - no event tells of other processes
        await anyio.sleep(0.01)


async def _taken(locks: Locks, name: str):
    while True:
        try:
            if held := locks.try_hold(name):
                return held
        except StoreUnavailable:
            pass
        await anyio.sleep(0.01)


def _end_sessions(server: RunningPostgres, which: str = "true") -> None:
    ours = "application_name = 'atlas-mcp' AND pid <> pg_backend_pid()"
    server.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {ours} AND {which}")


# ---- not let in -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "error", "said", "step"),
    [
        ("postgresql://me:hunter2@127.0.0.1:1/atlas", StoreUnavailable, "does not answer", "ATLAS_DATABASE_URL"),
        ("postgresql://me:hunter2@no.such.host.invalid/atlas", StoreUnavailable, "does not answer", "Start it"),
        ("postgresql://postgres:hunter2@127.0.0.1:{port}/nosuch", ConfigurationError, "no such database", "createdb"),
        ("postgresql://nobody:hunter2@127.0.0.1:{port}/postgres", ConfigurationError, "refuses the user", "Mend the"),
    ],
)
async def test_who_is_not_let_in_is_told_why_and_what_to_do_without_the_password(
    address: str, error: type[Exception], said: str, step: str
):
    database = Postgres(address.format(port=session_postgres().port))
    opened = AdvisoryLocks(database)
    with pytest.raises(error) as refused:
        async with open_record(NOWHERE, database):
            pass
    with pytest.raises(error) as also:
        async with opened.opened():
            pass
    for text in (str(refused.value), str(also.value)):
        assert said in text
        assert step in text
        assert "hunter2" not in text
    assert "hunter2" not in repr(database) + database.shown


def _reload(server: RunningPostgres) -> None:
    """Let the server read its files again: it does so when it comes to it, and whoever connects before sees the old."""
    asked, end = "SELECT pg_conf_load_time()", time.monotonic() + 60
    before = server.execute(asked)
    server.execute("SELECT pg_reload_conf()")
    while server.execute(asked) == before:
        assert time.monotonic() < end
    server.execute("SELECT 1")  # a connection that is admitted after all of it was read


async def test_a_wrong_password_is_told_as_such():
    server = session_postgres()
    server.execute("CREATE ROLE guarded LOGIN PASSWORD 'right'")
    hba = Path(server.execute("SHOW hba_file")[0][0])
    before = hba.read_text()
    hba.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    _reload(server)
    database = Postgres(f"postgresql://guarded:hunter2@127.0.0.1:{server.port}/postgres")
    try:
        with anyio.fail_after(60), pytest.raises(ConfigurationError, match="refuses the password") as refused:
            async with open_record(NOWHERE, database):
                pass
    finally:
        hba.write_text(before)
        server.execute("SELECT pg_reload_conf()")
    assert "hunter2" not in str(refused.value)


async def test_a_database_that_keeps_no_unicode_is_refused():
    server = session_postgres()
    server.execute("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(ConfigurationError, match="LATIN1"):
        async with open_record(NOWHERE, Postgres(server.address("latin"))):
            pass


async def test_a_user_who_may_create_nothing_is_told_what_to_grant():
    server = session_postgres()
    server.execute("CREATE ROLE guest LOGIN")
    database = Postgres(server.new_database().replace("postgres@", "guest@"))
    with pytest.raises(ConfigurationError, match="GRANT CREATE ON DATABASE"):
        async with open_record(NOWHERE, database):
            pass


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("mysql://me:hunter2@db/atlas", "only a PostgreSQL is supported"),
        ("sqlite:///hunter2.db", "only a PostgreSQL is supported"),
        ("hunter2", "only a PostgreSQL is supported"),
        ("postgresql://me:hunter2@db", "names no database"),
        ("postgresql://me:hunter2@db:port/atlas", "no address"),
    ],
)
def test_an_address_that_is_none_is_refused_at_the_start_and_not_repeated(
    address: str, said: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ATLAS_DATABASE_URL", address)
    with pytest.raises(ConfigurationError, match=said) as refused:
        load_settings()
    assert "ATLAS_DATABASE_URL" in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_an_address_shows_no_password_where_settings_are_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ATLAS_DATABASE_URL", "postgresql://me:hunter2@db/atlas")
    assert "hunter2" not in repr(load_settings())


def test_a_settings_file_with_the_address_that_others_can_read_is_told(tmp_path: Path):
    file = tmp_path / "settings.toml"
    file.write_text('database_url = "postgresql://me:hunter2@db/atlas"\n')
    file.chmod(0o644)
    assert exposed_settings(tmp_path) == file
    file.chmod(0o600)
    assert exposed_settings(tmp_path) is None
