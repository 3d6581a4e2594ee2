"""Forgetting in the record, in a file and on PostgreSQL: no row of a table holds the text but those of others."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select

from atlas_mcp.memory import purging, tombstones
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.forgetting import bury_again, delete_items, derived, find, kept_alike
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.redacting import MARK, Redactor
from atlas_mcp.memory.spreading import spread
from atlas_mcp.memory.telling import Teller
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.memory_item import New
from atlas_mcp.store import tables
from atlas_mcp.store.memory_tables import entity
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import metadata

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.memory.forgetting import Item
    from atlas_mcp.store.postgres import Postgres
    from atlas_mcp.store.record import Record

pytestmark = pytest.mark.anyio
ADA, BOB = Caller(id="local:ada"), Caller(id="local:bob")
MARKER = "quagga71x"
SECRET = f"The vault at Lund opens with the words {MARKER}, and Ada keeps the second key of it."
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def a_run(caller: Caller) -> dict[str, Any]:
    return {
        "id": f"run_{caller.id[-3:]}",
        "caller": caller.id,
        "kind": "team_task",
        "status": "completed",
        "goal": "Say what opens the vault.",
        "input": {"materials": [{"name": "m", "text": SECRET}]},
        "progress": {"done": 1, "total": 1, "text": ""},
        "result": {"output": f"# Answer\n\n{SECRET.upper()}", "evidence": [{"quote": SECRET[:60], "claim": MARKER}]},
        "usage": {},
        "needs": [],
        "created_at": NOW,
        "updated_at": NOW,
    }


async def fill(record: Record, caller: Caller) -> str:
    """Put the secret into every kind of row; the document's id."""
    document = await Documents(caller, record).share("notes", SECRET)
    agent = "agent:librarian"
    run = a_run(caller)
    async with record.write() as db:
        await db.execute(insert(tables.run).values(run))
        common = {"run_id": run["id"], "at": NOW, "actor": "librarian", "type": "note"}
        for seq in range(1, 300):
            told = {"text": f"found {SECRET}" if seq % 7 == 0 else f"step {seq}", "data": {"n": [SECRET[4:50], seq]}}
            await db.execute(insert(tables.event).values({**common, "seq": seq, **told}))
        words = {"id": f"a-{run['id']}", "run_id": run["id"], "name": "draft", "text": SECRET, "created_at": NOW}
        await db.execute(insert(tables.artifact).values(words))
        turn = {"id": f"t-{run['id']}", "key": "k", "caller": caller.id, "agent": "librarian", "conversation": "c"}
        turn |= {"message": SECRET, "status": "done", "result": {"reply": f"I noted {MARKER}."}, "started_at": NOW}
        await db.execute(insert(tables.turn).values({**turn, "run_id": run["id"]}))
        revision = {"block_id": f"b-{caller.id}", "number": 1, "caller": caller.id, "value": f"x\n{SECRET}"}
        await db.execute(insert(tables.revision).values({**revision, "operation": "value", "author": agent, "at": NOW}))
    await Memories(caller, record).add(New(kind="long_term", text=f"Noted: {SECRET}", author=agent))
    await Memories(caller, record).add(New(kind="long_term", text="Locks matter.", quote=SECRET, author=agent))
    said = Triple(subject="the vault", relation="opens_with", value=MARKER, text=SECRET, sources=[document.id])
    await Facts(caller, record).relate([said], Teller(agent, 0.6))
    return document.id


async def rows_with(record: Record, marker: str = MARKER) -> dict[str, list[str]]:
    """By table, whose rows hold the marker; of rows that name no caller, what they are of."""
    found: dict[str, list[str]] = {}
    async with record.read() as db:
        for table in metadata.sorted_tables:
            for row in await db.execute(select(table)):
                if marker in str(tuple(row)).lower():
                    owner = getattr(row, "caller", None) or getattr(row, "run_id", "")
                    found.setdefault(table.name, []).append(str(owner))
    return found


async def forget(record: Record, caller: Caller, item: str) -> list[Item]:
    async with record.read() as db:
        items = await find(db, caller, item)
        assert items
        redactor = Redactor([text for one in items for text in one.texts])
        items += await derived(db, caller, items, redactor)
    async with record.write(caller.id) as db:
        await delete_items(db, record, caller, items)
    await spread(record, caller, redactor)
    return items


async def test_no_row_holds_it_and_another_callers_do(home: Path, database: Postgres | None) -> None:
    home.mkdir()
    async with open_record(home, database) as record:
        document = await fill(record, ADA)
        await fill(record, BOB)
        before = await rows_with(record)
        kinds = {"passage", "memory", "memory_revision", "fact", "run", "event", "artifact", "turn", "revision"}
        assert kinds <= set(before)

        gone = await forget(record, ADA, document)
        assert sorted(one.kind for one in gone) == ["document", "fact", "memory", "memory"]
        left = await rows_with(record)
        assert set(left.pop("forgotten")) == {ADA.id}
        assert {owner for owners in left.values() for owner in owners} == {BOB.id, "run_bob"}
        assert {name: len(owners) * 2 for name, owners in left.items()} == {n: len(o) for n, o in before.items()}

        async with record.read() as db:
            run = (await db.execute(select(tables.run).where(tables.run.c.caller == ADA.id))).one()
            assert run.result == {"output": f"# Answer\n\n{MARK}.", "evidence": [{"quote": MARK, "claim": MARK}]}
            steps = await db.execute(select(tables.event.c.text).where(tables.event.c.run_id == run.id))
            assert [text for text in steps.scalars() if text.startswith("step")]
            pending = await tombstones.pending(db)
        async with record.write() as db:
            assert await tombstones.purged(db, ADA.id, pending[ADA.id]) == len(gone)
        assert "forgotten" not in await rows_with(record)
        if database is not None:
            assert purging.rewrite_postgres(database) == []


async def test_a_run_goes_with_all_that_it_kept(home: Path, database: Postgres | None) -> None:
    home.mkdir()
    async with open_record(home, database) as record:
        document = await fill(record, ADA)
        await forget(record, ADA, "run_ada")
        async with record.read() as db:
            for table in (tables.run, tables.event, tables.artifact, tables.turn):
                assert list(await db.execute(select(table))) == []
            assert await find(db, ADA, "run_ada") == []
            assert [one.id for one in await find(db, ADA, document)] == [document]
            assert [one.id for one in await kept_alike(db, ADA, [], Redactor([SECRET]))] == [document]


async def test_what_comes_back_is_deleted_again_and_what_the_caller_wants_is_kept(
    home: Path, database: Postgres | None
) -> None:
    home.mkdir()
    async with open_record(home, database) as record:
        document = await fill(record, ADA)
        await forget(record, ADA, document)
        await Documents(BOB, record).share("notes", SECRET)
        async with record.write(ADA.id) as db:
            assert await bury_again(db, record, ADA) == 0
        refused = await Memories(ADA, record).add(New(kind="long_term", text=f"noted:  {SECRET}", author="agent:x"))
        assert (refused.text, refused.reason) == (MARK, tombstones.FORGOTTEN)
        again = await Documents(ADA, record).share("notes", SECRET)
        async with record.write(ADA.id) as db:
            assert await bury_again(db, record, ADA) == 0
            assert [one.id for one in await find(db, ADA, f"{again.id}/0")] == [again.id]


async def test_an_entity_goes_with_its_facts(home: Path, database: Postgres | None) -> None:
    home.mkdir()
    async with open_record(home, database) as record:
        facts = Facts(ADA, record)
        teller = Teller("caller", 1.0)
        (told, _) = await facts.relate(
            [
                Triple(subject="Ada", relation="works_for", object="Acme"),
                Triple(subject="Bo", relation="likes", value="tea"),
            ],
            teller,
        )
        assert told.fact.subject == "Ada"
        async with record.read() as db:
            ada = (await db.execute(select(entity.c.id).where(entity.c.name == "Ada"))).scalar_one()
        await forget(record, ADA, ada)
        assert set(await rows_with(record, "acme")) <= {"forgotten"}
        assert "fact" in await rows_with(record, "tea")
