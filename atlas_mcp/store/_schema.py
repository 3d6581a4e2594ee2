"""Brings the record's schema up to date, once, by whichever process comes first.

Promise: when the record is current, this costs one read and imports nothing heavy. A migration is in the record whole
or not at all, also after kill -9. A record of a newer ATLAS is never touched.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import LockTimeout, NewerRecord
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from sqlalchemy import Connection

REVISIONS = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008", "0009")
"""Every revision, oldest first; the last is what this program needs."""

MIGRATIONS = str(Path(__file__).with_name("migrations"))

_WAIT_SECONDS = 60.0


def upgrade(path: Path, locks: Path) -> None:
    """Migrate the database file to the last of REVISIONS. Blocks: call it in a thread."""
    if _revision(path) == REVISIONS[-1]:
        return
    deadline = time.monotonic() + _WAIT_SECONDS
    while (held := Locks(locks).try_hold("migration")) is None:
        if time.monotonic() > deadline:
            raise LockTimeout(f"waited {_WAIT_SECONDS:g} s for another process to migrate {path}.")
        time.sleep(0.02)
    with held:
        if _revision(path) != REVISIONS[-1]:
            _migrate(path)


def _revision(path: Path) -> str | None:
    """The record's revision, None if it has none yet; NewerRecord if this program does not know it."""
    if not path.exists():
        return None
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        tables = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone() if tables else None
    if row and row[0] not in REVISIONS:
        raise NewerRecord(
            f"the record {path} has schema {row[0]!r}, which this program does not know: a newer ATLAS wrote it.",
            next_step="Update ATLAS, or use another home folder. The record was left as it is.",
        )
    return row[0] if row else None


def _migrate(path: Path) -> None:
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, event

    path.touch(mode=0o600)
    config = Config()
    config.set_main_option("script_location", MIGRATIONS.replace("%", "%%"))
    engine = create_engine(f"sqlite:///{path}", connect_args={"isolation_level": None, "timeout": 30})
    event.listen(engine, "begin", _begin)
    try:
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        engine.dispose()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
