"""Chroma in a home: fed by one process, asked where it is well, and never the only one who knows."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import anyio
import pytest
from sqlalchemy import delete

from atlas_mcp import Atlas, load_settings, open_atlas
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.tables import passage
from tests.homes import contents
from tests.vectors.world import (
    DEADLINE,
    MANY,
    ME,
    OTHER,
    PRINT,
    best,
    directions,
    everything,
    numbers_of,
    opened,
    plant,
)

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.model.caller import Caller

pytestmark = pytest.mark.anyio


async def test_without_vectors_chroma_is_not_started(home: Path) -> None:
    async with opened(home) as world:
        assert await world.nearest(directions(1)[0]) == []
        assert (world.vectors.chroma.stage, world.vectors.room().health) == ("idle", "idle")
        assert not (home / "chroma").exists()


async def test_chroma_finds_what_comparing_all_finds_and_the_record_answers_until_it_does(home: Path) -> None:
    vectors = directions(600)
    queries = directions(20, seed=5)
    async with opened(home) as world:
        ids = await plant(world.record, vectors)
        assert await world.nearest(queries[0]) == best(queries[0], ids, vectors)
        await world.told()
        assert "in the home folder" in world.vectors.room().text
        found = {n: await world.nearest(query) for n, query in enumerate(queries)}
        right = sum(len(set(found[n]) & set(best(query, ids, vectors))) for n, query in enumerate(queries))
        assert right >= 0.98 * 200
        assert await world.asked_chroma(vectors[3], 1) == [ids[3]]


async def test_a_filter_and_the_caller_hold_when_chroma_proposes(home: Path) -> None:
    vectors = directions(300)
    old = datetime.now(UTC) - timedelta(days=10)
    async with opened(home) as world:
        await plant(world.record, vectors, OTHER, source="theirs")
        mine = await plant(world.record, vectors[:MANY], source="mine")
        few = await plant(world.record, directions(5, seed=8), source="few", kind="archive", at=old)
        await world.told()
        assert set(await world.nearest(vectors[0], kinds=("archive",))) == set(few)
        assert await world.nearest(vectors[0]) == best(vectors[0], mine, vectors[:MANY])
        assert set(await world.nearest(vectors[0], until=old)) == set(few)


async def test_what_chroma_was_not_told_yet_is_found_and_what_was_deleted_is_not(home: Path) -> None:
    vectors = directions(MANY)
    async with opened(home) as world:
        ids = await plant(world.record, vectors)
        await world.told()
        async with world.record.write(ME.id) as db:
            await db.execute(delete(passage).where(passage.c.id == ids[0]))
        found = await world.nearest(vectors[0])
        assert ids[0] not in found
        assert len(found) == 10
        (new,) = await plant(world.record, vectors[:1], source="new")
        assert (await world.nearest(vectors[0]))[0] == new
        await world.told()
        assert (await world.asked_chroma(vectors[0], 1)) == [new]


async def test_a_number_that_is_given_again_never_has_the_vector_of_who_had_it_before(home: Path) -> None:
    vectors = directions(MANY)
    async with opened(home) as world:
        ids = await plant(world.record, vectors)
        await world.told()
    async with opened(home) as world:  # Chroma is not open yet: its files have what is deleted now
        async with world.record.write(ME.id) as db:
            await db.execute(delete(passage).where(passage.c.id == ids[-1]))
        (again,) = await plant(world.record, -vectors[-1:], OTHER, source="again")
        assert again == ids[-1], "SQLite gives the number again, which this test is about"
        await world.until("ready")
        assert again not in await world.nearest(vectors[-1], ME)
        await world.told()
        theirs = await world.vectors.nearest(everything(OTHER), PRINT, vectors[-1])
        assert theirs == [(again, pytest.approx(-1.0, abs=1e-5))]
        assert again not in await world.asked_chroma(vectors[-1], 64)


async def test_each_embedder_has_its_collection_which_goes_with_its_vectors(home: Path) -> None:
    vectors, other = directions(MANY), "ffffffffffff"
    async with opened(home) as world:
        await plant(world.record, vectors)
        new = await plant(world.record, vectors, source="new", fingerprint=other)
        await world.told()
        found = await world.vectors.nearest(everything(), other, vectors[0])
        assert numbers_of(found) == best(vectors[0], new, vectors)
        async with world.record.write(ME.id) as db:
            await db.execute(delete(vector).where(vector.c.fingerprint == PRINT))
        await world.told()
        assert await world.asked_chroma(vectors[0]) == []
        assert numbers_of(await world.vectors.nearest(everything(), other, vectors[0])) == best(
            vectors[0], new, vectors
        )


async def test_one_process_keeps_chroma_and_another_takes_over_when_it_ends(home: Path) -> None:
    vectors = directions(MANY)
    waits, took_over = anyio.Event(), anyio.Event()

    async def other_process(ids: list[int]) -> None:
        async with opened(home) as world:
            await world.until("other")
            assert await world.nearest(vectors[0]) == best(vectors[0], ids, vectors)
            assert "Another process" in world.vectors.room().text
            waits.set()
            await world.told()
            assert await world.asked_chroma(vectors[0], 1) == [ids[0]]
            took_over.set()

    async with anyio.create_task_group() as tasks:
        async with opened(home) as world:
            ids = await plant(world.record, vectors)
            await world.told()
            tasks.start_soon(other_process, ids)
            await waits.wait()
        await took_over.wait()


async def test_closed_in_peace_the_files_have_no_mark_and_are_opened_again_as_they_are(home: Path) -> None:
    vectors = directions(MANY)
    mark = home / "chroma" / "mark"
    async with opened(home) as world:
        ids = await plant(world.record, vectors)
        await world.told()
        assert mark.read_text() == "serving"
        before = {path.name for path in (home / "chroma" / "files").iterdir()}
    assert not mark.exists()
    async with opened(home) as world:
        await world.told()
        assert await world.nearest(vectors[0]) == best(vectors[0], ids, vectors)
        assert {path.name for path in (home / "chroma" / "files").iterdir()} == before


async def test_made_anew_chroma_has_nothing_of_what_was_deleted_on_the_disk(home: Path) -> None:
    vectors = directions(MANY)
    async with opened(home) as world:
        ids = await plant(world.record, vectors)
        await world.told()
        async with world.record.write(ME.id) as db:
            await db.execute(delete(passage).where(passage.c.id == ids[0]))
        await world.told()
        assert on_disk(home, vectors[0].tobytes()), "Chroma keeps what was deleted: hence this test"
        assert await world.vectors.renew(DEADLINE)
        await world.told()
        assert not on_disk(home, vectors[0].tobytes())
        assert await world.asked_chroma(vectors[1], 1) == [ids[1]]


def on_disk(home: Path, what: bytes) -> bool:
    return any(what in content for _, content in contents(home / "chroma"))


async def test_no_text_and_no_caller_is_on_chromas_disk(home: Path) -> None:
    async with opened(home) as world:
        await plant(world.record, directions(MANY), source="a secret of mine")
        await world.told()
        assert not on_disk(home, b"secret")
        assert not on_disk(home, ME.id.encode())
        assert on_disk(home, f"mem-{PRINT}".encode())


async def test_the_process_that_serves_never_imports_chroma(home: Path) -> None:
    async with opened(home) as world:
        ids = await plant(world.record, directions(MANY))
        await world.told()
        assert await world.asked_chroma(directions(MANY)[0], 1) == [ids[0]]
    assert not {"chromadb", "onnxruntime"} & set(sys.modules)


async def test_what_is_shared_with_a_house_comes_to_chroma_and_get_status_tells(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLAS_EMBEDDER", "hash")
    async with open_atlas(load_settings()) as atlas:
        me = atlas.local_caller()
        for n in range(80):
            await atlas.share_knowledge(me, f"tea {n}", f"Tea number {n} is steeped for {n} minutes.")
        with anyio.fail_after(DEADLINE):
            while "Chroma in the home folder." not in await vectors_told(atlas, me):  # noqa: ASYNC110 - a status rings no bell
                await anyio.sleep(0.1)
        assert [path.name for path in (home / "chroma").iterdir()]
    assert not {"chromadb", "onnxruntime"} & set(sys.modules)


async def vectors_told(atlas: Atlas, caller: Caller) -> str:
    return next(room.text for room in (await atlas.status(caller)).rooms if room.name == "vectors")
