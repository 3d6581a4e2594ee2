"""One suite over the record and over Bolt: both walk alike, whatever the graph looks like and whoever asks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.memory.facts import Facts, Teller
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Known, Triple
from tests.neo4j.conftest import ME, Counting, facts_over, mirrored, until_told

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from atlas_mcp.store.record import Record
    from tests.bolt import RunningBolt

pytestmark = pytest.mark.anyio
CALLER = Teller("caller", 1.0)


class House:
    """Facts, how to wait until they are where they are walked over, and who walked."""

    def __init__(self, facts: Facts, ready: Callable[[], Awaitable[None]], counting: Counting | None = None) -> None:
        self.facts = facts
        self.ready = ready
        self.counting = counting


@pytest.fixture(params=["record", "bolt"])
async def house(
    request: pytest.FixtureRequest, record: Record, home: Path, bolt: RunningBolt, graph: str, quick: None
) -> AsyncIterator[House]:
    if request.param == "record":

        async def at_once() -> None: ...

        yield House(Facts(ME, record), at_once)
        return
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        facts, counting = facts_over(record, mirror)
        yield House(facts, lambda: until_told(mirror), counting)
    assert 0 < counting.asked == counting.went, "the record did not answer in its place"


async def link(house: House, *pairs: str, by: Teller = CALLER, relation: str = "knows", **more: Any) -> None:
    ends = [pair.split("-") for pair in pairs]
    await house.facts.relate([Triple(subject=a, relation=relation, object=b, **more) for a, b in ends], by)


def ways(known: Known) -> list[str]:
    return [f"{one.subject}-{one.object or one.value}" for one in known.facts]


async def test_neighbourhoods_and_paths(house: House):
    await link(house, "a-b", "b-c", "d-c", "d-e", "e-f", "a-x", "x-y", "x-y2")
    await house.facts.relate([Triple(subject="b", relation="has_colour", value="rød 🦊 \"'\\")], CALLER)
    await house.ready()
    for depth, found in ((1, {"a-b", "a-x"}), (2, {"a-b", "a-x", "b-c", "b-rød 🦊 \"'\\", "x-y", "x-y2"})):
        assert set(ways(await house.facts.neighbourhood("a", depth=depth))) == found
    three = await house.facts.neighbourhood("a", depth=3)
    assert ways(three)[-1] == "d-c"
    assert {one.name: one.distance for one in three.entities} == {
        "a": 0, "b": 1, "x": 1, "c": 2, "y": 2, "y2": 2, "d": 3,
    }  # fmt: skip
    assert ways(await house.facts.path("a", "e")) == ["a-b", "b-c", "d-c", "d-e"]
    assert (await house.facts.path("a", "f")).notes == ["a and f are not connected by 4 facts or fewer."]


async def test_limits_keep_the_most_trusted_and_newest(house: House):
    await link(house, "a-old")
    await link(house, "a-agents", by=Teller("agent:x", 0.6))
    await link(house, "a-new")
    await house.ready()
    known = await house.facts.neighbourhood("a", limit=2)
    assert (ways(known), known.more) == (["a-new", "a-old"], True)


async def test_cycles_and_facts_of_a_thing_with_itself(house: House):
    await link(house, "a-a", "a-b", "b-c", "c-a", "b-b")
    await house.ready()
    assert sorted(ways(await house.facts.neighbourhood("a", depth=3))) == ["a-a", "a-b", "b-b", "b-c", "c-a"]
    assert ways(await house.facts.path("a", "c")) == ["c-a"]


async def test_what_was_true_and_what_was_held_at_a_time(house: House):
    def year(number: int) -> datetime:
        return datetime(number, 1, 1, tzinfo=UTC)

    await link(house, "ann-oslo", relation="lives_in", true_from=year(2010))
    before = (await house.facts.recall("ann")).facts[0].learned_at
    await link(house, "ann-rome", relation="lives_in", true_from=year(2020))
    await house.ready()

    async def asked(**when: Any) -> list[str]:
        return ways(await house.facts.neighbourhood("ann", **when))

    assert await asked() == ["ann-rome"]
    assert await asked(at=year(2015)) == ["ann-oslo"]
    assert await asked(at=year(2009)) == []
    assert await asked(at=year(2021), known_at=before) == ["ann-oslo"]
    assert (await house.facts.path("ann", "oslo")).facts == []
    assert ways(await house.facts.path("ann", "oslo", at=year(2015))) == ["ann-oslo"]


async def test_callers_scopes_and_projects_are_kept_apart(house: House, record: Record):
    await link(house, "a-all")
    await link(house, "a-mine", by=Teller("agent:x", 0.6, scope="agent:x"))
    await link(house, "a-harbour", by=Teller("caller", 1.0, project="harbour"))
    other = Caller(id="key:other", kind="key")
    await Facts(other, record).relate([Triple(subject="a", relation="knows", object="secret")], CALLER)
    await house.ready()
    assert set(ways(await house.facts.neighbourhood("a", depth=3))) == {"a-all", "a-mine", "a-harbour"}
    assert ways(await house.facts.neighbourhood("a", project="harbour")) == ["a-harbour"]
    narrow = Facts(ME, record, scopes=("all",), walker=house.counting)
    assert set(ways(await narrow.neighbourhood("a"))) == {"a-all", "a-harbour"}


async def test_merged_things_are_one_until_they_are_split(house: House):
    await link(house, "ann-bob", "lee-tom", "bob-oslo", "lee-red")
    await house.facts.merge("ann", "lee")
    await house.ready()
    assert ways(await house.facts.path("tom", "oslo")) == ["ann-tom", "ann-bob", "bob-oslo"]
    await house.facts.split("lee")
    await house.ready()
    assert (await house.facts.path("tom", "oslo")).facts == []
    assert sorted(ways(await house.facts.neighbourhood("lee"))) == ["lee-red", "lee-tom"]


async def test_what_is_undone_or_forgotten_is_walked_over_no_more(house: House, record: Record):
    await link(house, "a-b", by=Teller("agent:x", 0.6, "run-1"))
    await link(house, "a-c", "a-d")
    gone = (await house.facts.recall("d")).facts[0]
    async with record.write(of=ME.id) as db:
        await house.facts.undo_run(db, "run-1")
        await house.facts.forget(db, [gone.id])
    await house.ready()
    assert ways(await house.facts.neighbourhood("a", depth=3)) == ["a-c"]
