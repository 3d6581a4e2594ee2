"""Brings the record's schema up to date, once, by whichever process comes first.

Promise: when the record is current, this costs one read and imports nothing heavy. A migration is in the record whole
or not at all, also after kill -9. A record of a newer ATLAS is never touched.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import ConfigurationError, LockTimeout, NewerRecord
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Generator

    from sqlalchemy import Connection, Engine

    from atlas_mcp.store.postgres import Postgres

REVISIONS = tuple(f"{number:04}" for number in range(1, 18))
"""Every revision, oldest first; the last is what this program needs."""

MIGRATIONS = str(Path(__file__).with_name("migrations"))

_WAIT_SECONDS = 60.0
_LOCK = 0x61746C6173  # of the migration, in PostgreSQL


def upgrade(path: Path, locks: Path) -> None:
    """Migrate the database file to the last of REVISIONS. Blocks: call it in a thread."""
    if known_revision(path) == REVISIONS[-1]:
        return
    deadline = time.monotonic() + _WAIT_SECONDS
    while (held := Locks(locks).try_hold("migration")) is None:
        if time.monotonic() > deadline:
            raise LockTimeout(f"waited {_WAIT_SECONDS:g} s for another process to migrate {path}.")
        time.sleep(0.02)
    with held:
        if known_revision(path) != REVISIONS[-1]:
            _migrate(path)


def known_revision(path: Path) -> str | None:
    """The record's revision, None if it has none yet; NewerRecord if this program does not know it."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if tables else None
    return _known(row[0], str(path)) if row else None


def _known(revision: str, record: str) -> str:
    if revision not in REVISIONS:
        raise NewerRecord(
            f"the record {record} has schema {revision!r}, which this program does not know: a newer ATLAS wrote it.",
            next_step="Update ATLAS, or use another home folder or database. The record was left as it is.",
        )
    return revision


def _migrate(path: Path) -> None:
    from sqlalchemy import create_engine

    path.touch(mode=0o600)
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None, "timeout": 30})
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        with _begun(engine, "BEGIN IMMEDIATE") as connection:
            _run_migrations(connection)
    finally:
        engine.dispose()


def upgrade_postgres(database: Postgres) -> None:
    """Migrate the database to the last of REVISIONS; the lock is the transaction's. Blocks: call it in a thread."""
    with closing(database.connect()) as connection, database.told():
        if _revision_there(connection, database) == REVISIONS[-1]:
            return
    from atlas_mcp.store.postgres import SCHEMA

    engine = database.engine()
    try:
        with database.told(), _begun(engine, f"BEGIN; SET LOCAL lock_timeout='{_WAIT_SECONDS:g}s'") as connection:
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            if _revision_there(connection.connection.driver_connection, database) != REVISIONS[-1]:
                connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
                _run_migrations(connection)
    finally:
        engine.dispose()


def _revision_there(connection: Any, database: Postgres) -> str | None:
    from atlas_mcp.store.postgres import SCHEMA, SETTING

    (encoding,) = connection.execute("SHOW server_encoding").fetchone()
    if encoding != "UTF8":
        step = "Name a database made with ENCODING 'UTF8'."
        raise ConfigurationError(f"{database.shown} keeps texts in {encoding}.", argument=SETTING, next_step=step)
    (there,) = connection.execute(f"SELECT to_regclass('{SCHEMA}.alembic_version')").fetchone()
    query = f"SELECT version_num FROM {SCHEMA}.alembic_version"  # noqa: S608 - our own name
    row = connection.execute(query).fetchone() if there else None
    return _known(row[0], database.shown) if row else None


def _run_migrations(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", MIGRATIONS.replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _begun(engine: Engine, begin: str) -> Generator[Connection]:
    """A transaction that is begun with that statement."""
    from sqlalchemy import event

    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin, execution_options={"no_parameters": True})  # it may be two statements

    event.listen(engine, "begin", start)
    with engine.begin() as connection:
        yield connection
