"""The nearest vectors, as the record itself finds them: exactly, for one caller, in bounded memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import delete, update

from atlas_mcp.memory.exact import ExactSearch
from atlas_mcp.memory.vector_rows import Asked
from atlas_mcp.store.home import open_home
from atlas_mcp.store.memory_tables import vector
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage
from tests.vectors.world import DIMENSION, ME, OTHER, PRINT, best, directions, everything, numbers_of, plant

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from numpy.typing import NDArray

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
NOW = datetime.now(UTC)


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


def ask(query: NDArray[np.float32], limit: int = 10, caller: Caller = ME, **narrowed: Any) -> Asked:
    return Asked(everything(caller, **narrowed), PRINT, query, limit)


async def test_the_nearest_are_found_with_their_similarity_best_first(record: Record) -> None:
    vectors = directions(300)
    ids = await plant(record, vectors)
    search = ExactSearch(record)
    for query in directions(5, seed=9):
        found = await search.nearest(ask(query))
        assert numbers_of(found) == best(query, ids, vectors)
        assert [s for _, s in found] == pytest.approx(sorted(vectors @ query, reverse=True)[:10], abs=1e-5)


async def test_nobody_finds_what_is_anothers_or_of_another_embedder(record: Record) -> None:
    vectors = directions(40)
    mine = await plant(record, vectors, ME, source="mine")
    await plant(record, vectors, OTHER, source="theirs")
    await plant(record, vectors, ME, source="old", fingerprint="ffffffffffff")
    found = await ExactSearch(record).nearest(ask(vectors[0], limit=1000))
    assert set(numbers_of(found)) == set(mine)


@pytest.mark.parametrize(
    ("wanted", "own"),
    [
        ({"kinds": ("archive", "fact")}, {"kind": "archive"}),
        ({"scopes": ("agent:a", "team:t")}, {"scope": "team:t"}),
        ({"project": "p"}, {"project": "p"}),
        ({"project": ""}, {}),
        ({"author": "agent:a"}, {"author": "agent:a"}),
        ({"agent": "a"}, {"author": "agent:a"}),
        ({"agent": "a"}, {"scope": "agent:a"}),
        ({"since": NOW - timedelta(days=9), "until": NOW - timedelta(days=8)}, {"at": NOW - timedelta(days=9)}),
        ({"min_trust": 1.0}, {"trust": 1.0}),
    ],
)
async def test_a_filter_leaves_the_nearest_of_those_that_fulfil_it(
    record: Record, wanted: dict[str, Any], own: dict[str, Any]
) -> None:
    others: dict[str, Any] = {
        "kind": "episodic",
        "scope": "all",
        "project": "q",
        "author": "caller",
        "at": NOW,
        "trust": 0.5,
    }
    near, far = directions(200, seed=3), directions(30, seed=4)
    await plant(record, near, ME, source="near", **others)
    chosen = await plant(record, far, ME, source="far", **{**others, "project": "", **own})
    found = await ExactSearch(record).nearest(ask(near[0], **wanted))
    assert numbers_of(found) == best(near[0], chosen, far)


async def test_what_has_expired_is_found_no_more(record: Record) -> None:
    vectors = directions(100)
    gone = await plant(record, vectors[:50], source="gone", expires_at=NOW - timedelta(seconds=1))
    left = await plant(record, vectors[50:], source="left", expires_at=NOW + timedelta(days=1))
    found = numbers_of(await ExactSearch(record).nearest(ask(vectors[0], 100)))
    assert (set(found) & set(gone), set(found)) == (set(), set(left))


async def test_what_came_or_went_is_seen_at_the_next_question(record: Record) -> None:
    vectors = directions(100)
    search = ExactSearch(record)
    first = await plant(record, vectors[1:])
    await search.nearest(ask(vectors[0]))
    (new,) = await plant(record, vectors[:1], source="new")
    assert (await search.nearest(ask(vectors[0])))[0][0] == new
    async with record.write(ME.id) as db:
        await db.execute(delete(passage).where(passage.c.id == new))
    assert new not in numbers_of(await search.nearest(ask(vectors[0])))
    async with record.write(ME.id) as db:
        await db.execute(update(passage).where(passage.c.id == first[0]).values(caller=OTHER.id))
    assert first[0] not in numbers_of(await search.nearest(ask(vectors[1])))


async def test_a_number_that_is_given_again_brings_nothing_of_the_passage_that_had_it(record: Record) -> None:
    vectors = directions(100)
    ids = await plant(record, vectors)
    search = ExactSearch(record)
    assert (await search.nearest(ask(vectors[-1])))[0][0] == ids[-1]
    async with record.write(ME.id) as db:
        await db.execute(delete(passage).where(passage.c.id == ids[-1]))
    (again,) = await plant(record, -vectors[-1:], source="again")
    found = dict(await search.nearest(ask(vectors[-1], 200)))
    assert found[again] == pytest.approx(-1.0, abs=1e-5)


async def test_memory_is_bounded_and_the_answer_the_same_with_more_than_fits(record: Record) -> None:
    vectors = directions(9000)
    ids = await plant(record, vectors)
    others = await plant(record, vectors[:100], OTHER, source="o")
    small = ExactSearch(record, memory_bytes=200 * (DIMENSION * 4 + 8))
    for query in directions(3, seed=7):
        assert numbers_of(await small.nearest(ask(query))) == best(query, ids, vectors)
        assert small.bytes == 0, "more than fits is not kept"
    assert numbers_of(await small.nearest(ask(vectors[0], caller=OTHER))) == best(vectors[0], others, vectors[:100])
    assert 0 < small.bytes <= 200 * (DIMENSION * 4 + 8)


async def test_what_is_no_vector_is_passed_over(record: Record) -> None:
    vectors = directions(70)
    ids = await plant(record, vectors)
    bad = [b"", b"\0" * 8, np.full(DIMENSION, np.nan, np.float32).tobytes()]
    async with record.write(ME.id) as db:
        for number, data in zip(ids, bad, strict=False):
            await db.execute(update(vector).where(vector.c.passage == number).values(data=data))
    found = numbers_of(await ExactSearch(record).nearest(ask(vectors[0], 100)))
    assert set(found) == set(ids[3:])
