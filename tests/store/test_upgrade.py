"""A home of an earlier ATLAS: what it kept is there after the upgrade, under the names that things have now."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from atlas_mcp.store import _schema

if TYPE_CHECKING:
    from pathlib import Path

AT = "2026-01-02 03:04:05.000000"
FIRST = {
    "agent": [("c1", "librarian", "agent-1", "print", AT, AT), ("c2", "librarian", "agent-2", "print", AT, AT)],
    "block": [("c1", "librarian", "human", "block-1", 2000), ("c1", "*", "team_notes", "block-2", 2000)],
    "conversation": [("conv-1", "c1", "librarian", "-", None, AT)],
}


def at_first_schema(path: Path) -> None:
    """A record as the first version made it."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option("script_location", _schema.MIGRATIONS)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
    engine.dispose()


def test_what_was_kept_before_there_were_servers_is_on_the_embedded_letta(tmp_path: Path) -> None:
    path = tmp_path / "atlas.db"
    at_first_schema(path)
    with closing(sqlite3.connect(path)) as record:
        for table, rows in FIRST.items():
            for row in rows:
                record.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)
        record.commit()
    _schema.upgrade(path, tmp_path / "locks")
    with closing(sqlite3.connect(path)) as record:
        agents = record.execute("SELECT caller, server, name, letta_id, fingerprint, created_at FROM agent").fetchall()
        blocks = record.execute('SELECT caller, server, owner, label, letta_id, "limit" FROM block').fetchall()
        threads = record.execute("SELECT id, caller, server, agent, client FROM conversation").fetchall()
        placed = record.execute("SELECT caller, server, moving_to FROM placement").fetchall()
        names = {name for (name,) in record.execute("SELECT name FROM sqlite_master")}
    assert agents == [(row[0], "embedded", *row[1:5]) for row in FIRST["agent"]]
    assert blocks == [(row[0], "embedded", *row[1:]) for row in FIRST["block"]]
    assert threads == [("conv-1", "c1", "embedded", "librarian", "-")]
    assert placed == [("c1", "embedded", None), ("c2", "embedded", None)]
    assert not {name for name in names if name.endswith("_before")}
