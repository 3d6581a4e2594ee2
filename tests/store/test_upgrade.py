"""A home of an earlier ATLAS: what it kept is there after the upgrade, under the names that things have now."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.search import Scope, search
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.store import _schema
from atlas_mcp.store.postgres import SCHEMA, Postgres
from atlas_mcp.store.record import open_record
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

pytestmark = pytest.mark.anyio
AT = "2026-01-02 03:04:05.000000"
FIRST = {
    "agent": [("c1", "librarian", "agent-1", "print", AT, AT), ("c2", "librarian", "agent-2", "print", AT, AT)],
    "block": [("c1", "librarian", "human", "block-1", 2000), ("c1", "*", "team_notes", "block-2", 2000)],
    "conversation": [("conv-1", "c1", "librarian", "-", None, AT)],
}


def at_schema(where: Path | Postgres, version: str, *also: str) -> None:
    """A record as that version made it, in which these statements were executed."""
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine

    config = Config()
    config.set_main_option("script_location", _schema.MIGRATIONS)
    engine = where.engine() if isinstance(where, Postgres) else create_engine(f"sqlite:///{where}")
    with engine.begin() as connection:
        if isinstance(where, Postgres):
            connection.exec_driver_sql(f"CREATE SCHEMA {SCHEMA}")
        config.attributes["connection"] = connection
        command.upgrade(config, version)
        for statement in also:
            connection.exec_driver_sql(statement)
    engine.dispose()


def test_what_was_kept_before_there_were_servers_is_on_the_embedded_letta(tmp_path: Path) -> None:
    path = tmp_path / "atlas.db"
    at_schema(path, "0001")
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


LEARNING = {
    "caller": "c1", "run_id": "run-1", "agent": "librarian", "about": "lighthouses", "project": "pier",
    "source": "act.txt", "quote": "two keepers", "confidence": 0.9, "scores": '{"new": 5.0}', "score": 4.5,
    "trust": 0.8, "at": AT,
}  # fmt: skip
LEARNINGS = [
    {"id": "lrn-1", "kind": "fact", "text": "The Act requires two keepers.", "audience": "all", "reason": ""},
    {"id": "lrn-2", "kind": "procedure", "text": "Quote clauses first.", "audience": "research", "reason": ""},
    {"id": "lrn-3", "kind": "what_worked", "text": "The reader found most.", "audience": "reader", "reason": ""},
    {
        "id": "lrn-4",
        "kind": "fact",
        "text": "Too vague.",
        "audience": "all",
        "reason": "judged too low",
        "expires_at": AT,
    },
]
PASSAGE = {
    "ordinal": 0,
    "title": "t",
    "project": "pier",
    "author": "agent:librarian",
    "trust": 0.8,
    "sha256": "",
    "at": AT,
}


def write(record: sqlite3.Connection, table: str, row: Mapping[str, object]) -> None:
    record.execute(f"INSERT INTO {table}({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", list(row.values()))


async def test_what_runs_had_taught_is_remembered_found_and_undone_like_any_memory(tmp_path: Path) -> None:
    path, me = tmp_path / "atlas.db", Caller(id="c1")
    at_schema(path, "0009")
    with closing(sqlite3.connect(path)) as record:
        for one in LEARNINGS:
            write(record, "learning", LEARNING | one)
            if not one["reason"]:
                own = {"source": one["id"], "kind": "learning", "text": one["text"], "caller": "c1"}
                write(record, "passage", PASSAGE | own)
        more = {"id": "lrn-9", "caller": "c2", "kind": "fact", "text": "Another's.", "audience": "all", "reason": ""}
        write(record, "learning", LEARNING | more)
        write(record, "passage", PASSAGE | {"source": "run-9", "kind": "run", "text": "It was done.", "caller": "c1"})
        record.commit()
    async with open_record(tmp_path) as record:
        mine = Memories(me, record)
        found = {one.id: one for one in await mine.list(everything=True)}
        assert {one.id: (one.kind, one.text, one.reason) for one in found.values()} == {
            "lrn-1": ("long_term", "The Act requires two keepers.", ""),
            "lrn-2": ("procedural", "Quote clauses first.", ""),
            "lrn-3": ("procedural", "The reader found most.", ""),
        }, "what had been refused and has expired is not given"
        one = found["lrn-2"]
        assert (one.author, one.run_id, one.source, one.quote) == ("agent:librarian", "run-1", "act.txt", "two keepers")
        assert (one.project, one.about, one.trust, one.score) == ("pier", "lighthouses (for research)", 0.8, 4.5)
        assert one.created_at.isoformat() == "2026-01-02T03:04:05+00:00"
        assert [r.text for r in (await mine.get("lrn-2", history=True)).history or []] == [one.text]
        async with record.read() as db:
            hits = await search(db, Scope(me, ("procedural",)), Query("clauses"), 5)
            assert [hit.id for hit in hits] == ["lrn-2/0"]
            [hit] = await search(db, Scope(me, ("episodic",)), Query("done"), 5)
            assert hit.id == "run-9/0", "what a run came to is found as long as before"
        assert {one.id for one in await mine.undo_run("run-1")} == {"lrn-1", "lrn-2", "lrn-3"}
        assert [one.text for one in await Memories(Caller(id="c2"), record).list()] == ["Another's."]
    with closing(sqlite3.connect(path)) as record:
        assert record.execute("SELECT count(*) FROM sqlite_master WHERE name = 'learning'").fetchone() == (0,)
        assert record.execute("SELECT count(*) FROM memory WHERE id = 'lrn-4'").fetchone() == (1,)


async def test_on_postgresql_what_was_indexed_before_is_found_by_words_and_by_letters(tmp_path: Path) -> None:
    database, me = Postgres(session_postgres().new_database()), Caller(id="c1")
    row = PASSAGE | {"id": 1, "caller": me.id, "kind": "long_term", "source": "mem-1", "text": "Two keepers."}
    at_schema(
        database,
        "0016",
        f"INSERT INTO passage ({', '.join(row)}) VALUES ({', '.join(repr(value) for value in row.values())})",
        "INSERT INTO passage_words (id, words, size, folded, parts)"
        " VALUES (1, $$'two':2D 'keeper':3D$$, 3, 'two keepers', '{kee,eep,epe,per,ers,two}')",
    )
    async with open_record(tmp_path, database) as record, record.read() as db:
        for asked, found_by in (("keeper", "words"), ("eeper", "letters")):
            [hit] = await search(db, Scope(me, ("long_term",)), Query(asked), 5)
            assert (hit.text, set(hit.why)) == ("Two keepers.", {found_by})
