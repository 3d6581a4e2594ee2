"""A Chroma server instead of files: shared by processes and by records, and slow, silent or gone at times."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from pydantic import SecretStr

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.memory.chroma.place import place
from atlas_mcp.store.postgres import Postgres
from tests.postgres import session_postgres
from tests.vectors.chroma_server import Gate, chroma_server, free_port
from tests.vectors.world import MANY, best, directions, opened, plant

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.vectors.chroma_server import Way

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
VECTORS = directions(MANY)
QUERY = directions(1, seed=6)[0]


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a server."""
    port = free_port()
    with chroma_server(tmp_path_factory.mktemp("chroma"), port):
        yield port


@pytest.fixture
def gate(port: int) -> Iterator[Gate]:
    made = Gate(port)
    yield made
    made.way = "open"
    made.close()


async def test_all_processes_of_a_home_ask_the_server_and_one_feeds_it(home: Path, gate: Gate) -> None:
    async with opened(home, url=gate.url) as feeder, opened(home, url=gate.url) as other:
        ids = await plant(feeder.record, VECTORS)
        await feeder.told()
        await other.told()
        for world in (feeder, other):
            assert await world.asked_chroma(VECTORS[7], 1) == [ids[7]]
            assert await world.nearest(QUERY) == best(QUERY, ids, VECTORS)
            assert world.vectors.room().text == f"Chroma at {gate.url}."
        assert not (home / "chroma" / "files").exists()


async def test_records_that_share_a_server_do_not_mix(tmp_path: Path, gate: Gate) -> None:
    async with opened(tmp_path / "a", url=gate.url) as one, opened(tmp_path / "b", url=gate.url) as two:
        ids = await plant(one.record, VECTORS)
        again = await plant(two.record, -VECTORS)
        assert ids == again, "the same numbers in both, which this test is about"
        await one.told()
        await two.told()
        assert await one.asked_chroma(VECTORS[3], 1) == [ids[3]]
        assert await two.asked_chroma(-VECTORS[3], 1) == [ids[3]]
        assert await two.nearest(QUERY) == best(QUERY, ids, -VECTORS)


async def test_a_record_in_postgresql_feeds_a_server_too_and_without_one_answers_alone(
    tmp_path: Path, gate: Gate
) -> None:
    database = Postgres(session_postgres().new_database())
    async with opened(tmp_path / "a", database) as alone:
        ids = await plant(alone.record, VECTORS)
        await alone.until("none")
        assert await alone.nearest(QUERY) == best(QUERY, ids, VECTORS)
        await alone.nothing_waits()
    async with opened(tmp_path / "b", database, gate.url) as world:
        await world.told()
        assert await world.asked_chroma(VECTORS[3], 1) == [ids[3]]


@pytest.mark.parametrize("way", ["slow", "silent"])
async def test_while_the_server_is_slow_or_silent_the_record_answers_until_it_is_well(
    home: Path, gate: Gate, way: Way
) -> None:
    async with opened(home, url=gate.url) as world:
        ids = await plant(world.record, VECTORS)
        await world.told()
        gate.way = way
        assert await world.nearest(QUERY) == best(QUERY, ids, VECTORS)
        assert not world.vectors.chroma.ready, "it is not asked twice"
        assert await world.nearest(QUERY) == best(QUERY, ids, VECTORS)
        await world.until("failing")
        assert world.vectors.room().health == "warning"
        (new,) = await plant(world.record, directions(1, seed=51), source="new")
        assert (await world.nearest(directions(1, seed=51)[0]))[0] == new
        gate.way = "open"
        await world.told()
        assert await world.asked_chroma(directions(1, seed=51)[0], 1) == [new]


async def test_a_server_that_is_gone_is_told_of_and_one_that_comes_back_empty_is_filled(
    home: Path, tmp_path: Path
) -> None:
    port = free_port()
    async with opened(home, url=f"http://user:geheim@127.0.0.1:{port}") as world:
        ids = await plant(world.record, VECTORS)
        await world.until("failing")
        room = world.vectors.room()
        assert (room.health, "geheim" in str(room)) == ("warning", False)
        assert await world.nearest(QUERY) == best(QUERY, ids, VECTORS)
        for folder in ("first", "second"):
            with chroma_server(tmp_path / folder, port):
                await world.told()
                assert await world.asked_chroma(VECTORS[5], 1) == [ids[5]]
            assert await world.nearest(QUERY) == best(QUERY, ids, VECTORS)
            await world.until("failing")


@pytest.mark.parametrize("first", ["a search", "a change"])
async def test_a_server_in_whose_place_an_empty_one_came_unseen_is_filled_before_it_is_relied_on(
    home: Path, tmp_path: Path, first: str
) -> None:
    port, more = free_port(), directions(MANY, seed=52)
    async with opened(home, url=f"http://127.0.0.1:{port}") as world:
        with chroma_server(tmp_path / "first", port):
            ids = await plant(world.record, VECTORS)
            await world.told()
        with chroma_server(tmp_path / "second", port):
            if first == "a search":
                assert await world.nearest(QUERY) == best(QUERY, ids, VECTORS)
            else:
                ids += await plant(world.record, more, source="more")
            assert await world.asked_chroma(VECTORS[5], 1) == [ids[5]]
            await world.told()
            every = np.concatenate([VECTORS, more])[: len(ids)]
            assert await world.nearest(QUERY) == best(QUERY, ids, every)


@pytest.mark.parametrize("url", ["chroma:8000", "ftp://chroma", "http://", "http://chroma:99999", "http://h/api/v2"])
def test_an_address_that_is_none_is_refused_with_what_would_be_one(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"ATLAS_CHROMA_URL.*http://HOST:PORT"):
        place(tmp_path, SecretStr(url))
