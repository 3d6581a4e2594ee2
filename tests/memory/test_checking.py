"""`memory check`: every store is compared with the record by ids and questions, and mended on demand."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import func, insert, select, text, update

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.memory import checking
from atlas_mcp.memory.checks import record as of_record
from atlas_mcp.memory.checks import words as of_words
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.hybrid import HybridMemory, open_memory
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.working import Kept, item_of
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.checked import MemoryCheck, StoreCheck
from atlas_mcp.model.memory_item import New
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.memory_tables import forgotten, memory, vector
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from atlas_mcp.store.tables import passage
from tests.memory.test_redis import told_everything
from tests.redis_server import running_redis

pytestmark = pytest.mark.anyio
ANA, BEN = Caller(id="local:ana"), Caller(id="local:ben")
PATIENCE = 120
TEXTS = [f"The heron number {n} of Overijssel was ringed in the alders by lock {n * 7} in spring." for n in range(40)]


@asynccontextmanager
async def opened(
    home: Path, database: Postgres | None = None, *, embedder: str = "none", redis: str | None = None
) -> AsyncGenerator[HybridMemory]:
    home.mkdir(exist_ok=True)
    config = StoresConfig(embedder=embedder, redis_url=SecretStr(redis) if redis else None)
    async with open_record(home, database) as record, open_memory(record, home, Locks(home / "locks"), config) as made:
        with anyio.fail_after(PATIENCE):
            yield made


async def planted(made: HybridMemory) -> list[str]:
    """Memories and documents of two callers; the ids of the memories."""
    ids: list[str] = []
    for n, words in enumerate(TEXTS):
        caller = ANA if n % 2 else BEN
        ids.append((await Memories(caller, made.record).add(New(kind="long_term", text=words))).id)
    await Documents(ANA, made.record).share("日本語", "青鷺は湖で魚を捕る。\n\nÜber die Reiher im Café.")
    await made.working(ANA).set("plan", 1)
    return ids


def of(found: MemoryCheck, store: str) -> StoreCheck:
    return next(one for one in found.stores if one.store == store)


async def test_what_is_as_it_should_be_is_called_so_and_left_alone(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as made:
        await planted(made)
        async with made.record.read() as db:
            before = (await db.execute(select(passage).order_by(passage.c.id))).all()
        for repair in (False, True):
            found = await checking.check(made, repair=repair)
            assert [(one.store, one.problems) for one in found.stores if one.problems] == []
            assert found.health == "ok"
            assert of(found, "words").looked_at == len(TEXTS) + 1, "each was asked for by a word of its own"
        async with made.record.read() as db:
            assert (await db.execute(select(passage).order_by(passage.c.id))).all() == before
        assert await checking.last(made.record) == found


async def test_passages_that_lost_their_memory_and_memories_without_any_are_mended(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as made:
        ids = await planted(made)
        async with made.record.write() as db:
            await db.execute(text("DELETE FROM passage WHERE source = :id"), {"id": ids[0]})
            await db.execute(update(passage).where(passage.c.source == ids[1]).values(source="mem-nobody"))
            await db.execute(update(passage).where(passage.c.source == ids[2]).values(caller=ANA.id))
        found = of(await checking.check(made), "record")
        assert found.health == "failing", "one passage is another caller's"
        assert {(p.text, p.count) for p in found.problems} == {
            ("memories have no passage to be found by", 2),
            ("passages belong to nothing", 1),
            ("passages are another caller's than their memory", 1),
        }
        assert of(await checking.check(made), "record") == found, "looking changed something"
        assert all(p.mended for p in of(await checking.check(made, repair=True), "record").problems)
        assert (await checking.check(made)).health == "ok"
        async with made.record.read() as db:
            rows = (
                await db.execute(select(passage.c.source, passage.c.caller).where(passage.c.source.in_(ids[:3])))
            ).all()
        assert {tuple(row) for row in rows} == {(ids[0], BEN.id), (ids[1], ANA.id), (ids[2], BEN.id)}


async def test_what_was_forgotten_and_is_there_again_is_told_and_deleted(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as made:
        ids = await planted(made)
        async with made.record.write() as db:
            gone = {"kind": "memory", "sha256": "", "places": [], "at": datetime.now(UTC), "texts": None}
            known = {name: value for name, value in gone.items() if name in forgotten.c}
            await db.execute(insert(forgotten).values(item=ids[1], caller=ANA.id, **known))
            await db.execute(insert(forgotten).values(item=ids[2], caller=ANA.id, **known))
        found = of(await checking.check(made), "record")
        assert (found.health, [p.count for p in found.problems]) == ("failing", [2])
        await checking.check(made, repair=True)
        assert (await checking.check(made)).health == "ok"
        async with made.record.read() as db:
            left = set((await db.execute(select(memory.c.id).where(memory.c.id.in_(ids)))).scalars())
        assert left == {*ids} - {ids[1]}, "what another caller forgot is not ours"


async def test_an_index_that_lost_and_kept_entries_is_made_right(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as made:
        await planted(made)
        async with made.record.write() as db:
            rows = (await db.execute(select(passage).order_by(passage.c.id).limit(3))).all()
            for row in rows:
                if database is None:
                    gone = "(passage_words, rowid, title, text) VALUES ('delete', :id, :title, :text)"
                    given = {"id": row.id, "title": row.title, "text": row.text}
                    await db.execute(text(f"INSERT INTO passage_words{gone}"), given)
                else:
                    await db.execute(text("DELETE FROM passage_words WHERE id = :id"), {"id": row.id})
        found = of(await checking.check(made), "words")
        counts = {p.text: p.count for p in found.problems}
        assert counts["passages are in no index"] == 3
        assert counts["passages are not found by their own words"] == 3
        assert found.health == "warning"
        await checking.check(made, repair=True)
        assert (await checking.check(made)).health == "ok"


async def test_an_index_that_has_the_right_ids_and_the_wrong_words_is_found_out(
    home: Path, database: Postgres | None
) -> None:
    """What counting, and comparing ids, would call well."""
    async with opened(home, database) as made:
        await planted(made)
        async with made.record.write() as db:
            row = (await db.execute(select(passage).order_by(passage.c.id).limit(1))).one()
            if database is None:
                for what, words in (("'delete'", row.text), (None, "something else entirely")):
                    columns = "passage_words, rowid, title, text" if what else "rowid, title, text"
                    values = f"{what}, :id, :title, :text" if what else ":id, :title, :text"
                    statement = f"INSERT INTO passage_words({columns}) VALUES ({values})"
                    await db.execute(text(statement), {"id": row.id, "title": row.title, "text": words})
            else:
                await db.execute(text("UPDATE passage_words SET words = 'else:1' WHERE id = :id"), {"id": row.id})
        found = of(await checking.check(made), "words")
        assert [(p.text, p.count) for p in found.problems] == [("passages are not found by their own words", 1)]
        await checking.check(made, repair=True)
        assert (await checking.check(made)).health == "ok"


async def test_vectors_that_are_none_are_deleted_and_made_again(home: Path, database: Postgres | None) -> None:
    async with opened(home, database, embedder="hash") as made:
        await planted(made)
        await all_embedded(made)
        async with made.record.write() as db:
            numbers = list((await db.execute(select(vector.c.passage).order_by(vector.c.passage).limit(3))).scalars())
            size = len((await db.execute(select(vector.c.data).limit(1))).scalar_one())
            damaged = (b"\x00" * size, b"\x00\x00\xc0\x7f" * (size // 4), b"\x00" * 8)
            for number, data in zip(numbers, damaged, strict=True):
                await db.execute(update(vector).where(vector.c.passage == number).values(data=data))
        found = of(await checking.check(made), "vectors")
        assert [(p.text, p.count) for p in found.problems] == [("vectors are none of their embedder's", 3)]
        await checking.check(made, repair=True)
        assert of(await checking.check(made), "vectors").health == "ok"


async def all_embedded(made: HybridMemory) -> None:
    async with made.record.read() as db:
        wanted = (await db.execute(select(func.count()).select_from(passage))).scalar_one()
    while True:
        async with made.record.read() as db:
            if (await db.execute(select(func.count()).select_from(vector))).scalar_one() >= wanted:
                return
        await anyio.sleep(0.05)


async def test_chroma_that_lacks_vectors_is_told_and_filled(home: Path) -> None:
    async with opened(home, embedder="hash") as made:
        await planted(made)
        await all_embedded(made)
        await chroma_ready(made)
        assert of(await checking.check(made), "chroma").health == "ok"
        chroma = made.vectors.chroma.asked
        assert chroma
        async with made.record.read() as db:
            rows = (await db.execute(select(vector.c.fingerprint, vector.c.passage).limit(5))).all()
        await chroma.remove(rows[0].fingerprint, {row.passage for row in rows})
        found = of(await checking.check(made), "chroma")
        assert [(p.text, p.count) for p in found.problems] == [("vectors are lacking", 5)]
        assert of(await checking.check(made, repair=True), "chroma").problems[0].mended
        await chroma_ready(made)
        again = of(await checking.check(made), "chroma")
        assert (again.health, again.looked_at) == ("ok", len(TEXTS) + 1)


async def chroma_ready(made: HybridMemory) -> None:
    while True:
        if made.vectors.chroma.asked is not None:
            return
        await anyio.sleep(0.05)


async def test_redis_that_has_something_else_is_told_and_set_right(home: Path) -> None:
    with running_redis() as redis:
        async with opened(home, redis=redis.url) as made:
            assert made.redis
            await made.redis.link.until(answers=True)
            working = made.working(ANA)
            await working.set("plan", "right")
            await working.set("gone", "there")
            await working.delete("gone")
            await told_everything(made)
            item, late = item_of(ANA.id, "all", "", "plan"), datetime.now(UTC) + timedelta(minutes=1)
            await made.redis.cache.put(item, Kept('"wrong"', None, late))
            await made.redis.cache.put(item_of(ANA.id, "all", "", "gone"), Kept('"back"', None, late))
            found = of(await checking.check(made), "redis")
            assert (found.health, [p.count for p in found.problems]) == ("failing", [2])
            await checking.check(made, repair=True)
            assert await working.get("plan") == "right"
            assert await working.get("gone") is None
            assert of(await checking.check(made), "redis").health == "ok"
            redis.kill()
            with pytest.raises(StoreUnavailable):
                await made.redis.link.call(lambda client: client.ping())
            assert of(await checking.check(made), "redis").health == "warning"


async def test_a_store_that_hangs_or_fails_is_told_and_the_others_are_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def hang(*_: object, **__: object) -> None:
        await anyio.sleep_forever()

    async def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(checking, "LONG_SECONDS", 2.0)
    monkeypatch.setattr(of_record, "look", hang)
    monkeypatch.setattr(of_words, "look", fail)
    async with opened(home) as made:
        found = await checking.check(made)
        assert "not looked at whole within 2 s" in of(found, "record").text
        assert "the disk is gone" in of(found, "words").text
        assert found.health == "warning"
        assert of(found, "vectors").health == "ok"


async def test_of_several_processes_one_looks_by_itself_and_all_know_what_it_found(
    home: Path, database: Postgres | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[str] = []
    real = of_record.look

    async def counted(made: HybridMemory, sample: int, *, repair: bool) -> StoreCheck:
        looked.append("once")
        return await real(made, sample, repair=repair)

    monkeypatch.setattr(of_record, "look", counted)
    async with opened(home, database) as one, opened(home, database) as other:
        locks = Locks(home / "locks")
        async with anyio.create_task_group() as tasks:
            for made in (one, other, one, other):
                tasks.start_soon(partial(checking.keep_checking, made, locks, first=0))
            await looked_at(other)
            tasks.cancel_scope.cancel()
        assert looked == ["once"]


async def looked_at(made: HybridMemory) -> MemoryCheck:
    while True:
        if (found := await checking.last(made.record)) is not None:
            return found
        await anyio.sleep(0.05)
