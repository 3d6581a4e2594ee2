"""Walks over the graph of facts, bounded whatever it looks like; things that are one, and that are not."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert

from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.memory.facts import Facts, Teller
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Known, Triple
from atlas_mcp.store.home import open_home
from atlas_mcp.store.memory_tables import entity, fact
from atlas_mcp.store.record import Record, open_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio

ME = Caller(id="local:me")
CALLER = Teller("caller", 1.0)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


@pytest.fixture
def facts(record: Record) -> Facts:
    return Facts(ME, record)


async def link(facts: Facts, *pairs: str, relation: str = "knows", **more: Any) -> None:
    """`a-b` tells that a knows b."""
    ends = [pair.split("-") for pair in pairs]
    await facts.relate([Triple(subject=a, relation=relation, object=b, **more) for a, b in ends], CALLER)


def ways(known: Known) -> list[str]:
    return [f"{one.subject}-{one.object}" for one in known.facts]


async def star(record: Record, name: str, neighbours: int, first: int = 0) -> None:
    """A thing with that many neighbours, written at once."""
    things = [{"id": f"entity-{name}", "name": name}]
    things += [{"id": f"entity-n{n}", "name": f"n{n}"} for n in range(first, first + neighbours)]
    common = {"caller": ME.id, "kind": "", "merged_into": None, "created_at": NOW}
    told = {
        "version": 1, "caller": ME.id, "relation": "knows", "value": "", "scope": "all", "project": "",
        "learned_at": NOW, "sources": [], "author": "caller", "confidence": 1.0, "trust": 1.0, "functional": False,
    }  # fmt: skip
    rows = [
        {
            **told,
            "id": f"fact-{name}-{n}",
            "subject": f"entity-{name}",
            "object": f"entity-n{n}",
            "text": f"{name} n{n}",
        }
        for n in range(first, first + neighbours)
    ]
    async with record.write() as db:
        await db.execute(insert(entity), [{**common, **one, "norm": one["name"]} for one in things])
        await db.execute(insert(fact), rows)


async def test_the_neighbourhood_goes_as_far_as_it_is_asked_to_and_no_further(facts: Facts):
    await link(facts, "a-b", "b-c", "d-c", "d-e", "x-y")
    for depth, found in ((1, ["a-b"]), (2, ["a-b", "b-c"]), (3, ["a-b", "b-c", "d-c"])):
        known = await facts.neighbourhood("a", depth=depth)
        assert ways(known) == found
        assert not known.more
        assert {one.name: one.distance for one in known.entities} == {
            name: n for n, name in enumerate("abcd"[: depth + 1])
        }
    for depth in (0, 4):
        with pytest.raises(InvalidInput, match="between 1 and 3"):
            await facts.neighbourhood("a", depth=depth)
    with pytest.raises(InvalidInput, match="nothing is known of 'nobody'"):
        await facts.neighbourhood("nobody")


async def test_values_belong_to_a_neighbourhood_and_lead_nowhere(facts: Facts):
    await facts.relate([Triple(subject=s, relation="has_colour", value="red") for s in ("a", "b")], CALLER)
    known = await facts.neighbourhood("a", depth=3)
    assert [(one.subject, one.value) for one in known.facts] == [("a", "red")]
    with pytest.raises(InvalidInput, match="nothing is known"):
        await facts.path("a", "red")


async def test_cycles_and_facts_of_a_thing_with_itself_end(facts: Facts):
    await link(facts, "a-a", "a-b", "b-c", "c-a", "b-b")
    known = await facts.neighbourhood("a", depth=3)
    assert sorted(ways(known)) == ["a-a", "a-b", "b-b", "b-c", "c-a"]
    assert ways(await facts.path("a", "c")) == ["c-a"]
    with pytest.raises(InvalidInput, match="the thing itself"):
        await facts.path("a", "A")


async def test_a_path_is_a_shortest_one_in_order_whichever_way_its_facts_point(facts: Facts):
    await link(facts, "a-b", "c-b", "c-d", "d-e", "e-f", "a-x", "x-y", "y-z", "z-d")
    known = await facts.path("a", "d")
    assert ways(known) == ["a-b", "c-b", "c-d"]
    assert [one.name for one in known.entities] == ["a", "b", "c", "d"]
    assert ways(await facts.path("a", "e")) == ["a-b", "c-b", "c-d", "d-e"]
    beyond = await facts.path("a", "f")
    assert (beyond.facts, beyond.notes) == ([], ["a and f are not connected by 4 facts or fewer."])
    assert (await facts.path("a", "d", hops=2)).facts == []
    with pytest.raises(InvalidInput, match="between 1 and 4"):
        await facts.path("a", "f", hops=5)


async def test_walks_go_over_what_was_true_and_held_at_a_time(facts: Facts):
    await link(facts, "a-b", true_until=datetime(2020, 1, 1, tzinfo=UTC))
    await link(facts, "b-c")
    assert (await facts.path("a", "c")).facts == []
    then = datetime(2019, 1, 1)  # noqa: DTZ001 - one that names no zone is UTC
    assert ways(await facts.path("a", "c", at=then)) == ["a-b", "b-c"]
    assert ways(await facts.neighbourhood("a", depth=2, at=then)) == ["a-b", "b-c"]
    assert (await facts.path("a", "c", at=then, known_at=then)).facts == []


async def test_a_thing_with_ten_thousand_neighbours_gives_as_much_as_is_asked_for(record: Record, facts: Facts):
    await star(record, "hub", 10_000)
    await link(facts, "n1-far")
    for depth in (1, 3):
        known = await facts.neighbourhood("hub", depth=depth, limit=50)
        assert (len(known.facts), known.more) == (50, True)
    from_leaf = await facts.neighbourhood("n9", depth=3, limit=200)
    assert (len(from_leaf.facts), from_leaf.more) == (200, True)
    recalled = await facts.recall("hub", limit=10)
    assert (len(recalled.facts), recalled.more) == (10, True)
    assert ways(await facts.path("n9", "far")) == ["hub-n9", "hub-n1", "n1-far"]
    assert ways(await facts.path("far", "n9")) == ["n1-far", "hub-n1", "hub-n9"]
    async with record.read() as db:
        assert len(await facts.related(db, "What of hub?", 8)) == 8


async def test_a_path_gives_up_where_there_is_too_much_to_look_at_and_says_so(
    record: Record, facts: Facts, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("atlas_mcp.memory.paths.MOST_IN_A_STEP", 20)
    await star(record, "hub", 50)
    await star(record, "nub", 50, first=100)
    await link(facts, "n49-n149")
    known = await facts.path("hub", "nub")
    assert known.facts == []
    assert known.more
    assert known.notes == [
        "hub and nub are not connected by 4 facts or fewer; but there was too much to look everywhere."
    ]


async def test_one_name_of_two_things_is_told_apart_by_their_kinds(facts: Facts):
    await facts.relate(
        [
            Triple(subject="Mercury", subject_kind="planet", relation="orbits", object="Sun"),
            Triple(subject="Mercury", subject_kind="element", relation="melts_at", value="-38.8 °C"),
        ],
        CALLER,
    )
    with pytest.raises(InvalidInput, match="the name of 2 things") as refused:
        await link(facts, "Mercury-Venus")
    assert (refused.value.argument, refused.value.allowed) == ("facts[0].subject", ("element", "planet"))
    assert ways(await facts.neighbourhood("mercury", kind="Planet")) == ["Mercury-Sun"]
    assert len((await facts.recall("Mercury")).facts) == 2


async def test_a_kind_that_is_said_later_makes_no_second_thing(facts: Facts):
    await link(facts, "Oslo-Norway")
    await facts.relate([Triple(subject="Oslo", subject_kind="city", relation="has_mayor", object="Ann")], CALLER)
    known = await facts.recall("Oslo")
    assert [(one.name, one.kind) for one in known.entities] == [("Oslo", "city")]
    assert len(known.facts) == 2


async def test_two_things_that_turn_out_to_be_one_have_each_others_facts_until_they_are_split(facts: Facts):
    await link(facts, "Ann-Bob", "Dr Lee-Tom", "Bob-Oslo")
    merged = await facts.merge("Ann", "Dr Lee")
    assert (merged.entity.name, merged.entity.also, merged.contradictions) == ("Ann", ["Dr Lee"], [])
    for name in ("Ann", "Dr Lee"):
        assert sorted(ways(await facts.recall(name))) == ["Ann-Bob", "Ann-Tom"]
    assert ways(await facts.path("Tom", "Oslo")) == ["Ann-Tom", "Ann-Bob", "Bob-Oslo"]
    await link(facts, "Dr Lee-Mia")
    assert (await facts.split("Dr Lee")).name == "Dr Lee"
    assert ways(await facts.recall("Dr Lee")) == ["Dr Lee-Tom"]
    assert sorted(ways(await facts.recall("Ann"))) == ["Ann-Bob", "Ann-Mia"], "told while they were one"
    assert (await facts.path("Tom", "Oslo")).facts == []


async def test_merging_tells_what_now_contradicts_and_changes_nothing_of_it(facts: Facts):
    await link(facts, "Ann-Oslo", "Dr Lee-Rome", relation="lives_in")
    merged = await facts.merge("Ann", "Dr Lee")
    assert sorted(ways_of(merged.contradictions)) == ["Ann-Oslo", "Ann-Rome"]
    await link(facts, "Ann-Bern", relation="lives_in")
    assert ways(await facts.recall("Dr Lee")) == ["Ann-Bern"]


def ways_of(found: Any) -> list[str]:
    return ways(Known(facts=found))


async def test_merges_follow_each_other_and_are_undone_one_by_one(facts: Facts):
    await link(facts, "a-x", "b-y", "c-z")
    await facts.merge("b", "c")
    await facts.merge("a", "b")
    assert sorted(ways(await facts.recall("c"))) == ["a-x", "a-y", "a-z"]
    for one, other in (("a", "c"), ("c", "b")):
        with pytest.raises(IllegalChange, match="one thing already"):
            await facts.merge(one, other)
    await facts.split("b")
    assert sorted(ways(await facts.recall("c"))) == ["b-y", "b-z"]
    await facts.split("c")
    assert ways(await facts.recall("c")) == ["c-z"]
    with pytest.raises(InvalidInput, match="was not merged"):
        await facts.split("c")


async def test_a_thing_that_was_two_is_told_apart_with_its_history_and_can_be_put_together_again(facts: Facts):
    await link(facts, "Ann-Oslo", relation="lives_in", true_until=datetime(2020, 1, 1, tzinfo=UTC))
    await link(facts, "Ann-Rome", relation="lives_in", true_from=datetime(2020, 1, 1, tzinfo=UTC))
    await link(facts, "Bob-Ann")
    known = {one.text: one.id for one in (await facts.recall("Ann", history=True)).facts}
    with pytest.raises(InvalidInput, match="is not about 'Ann'"):
        await facts.split_off("Ann", [known["Ann lives in Rome"], "fact-other"], "Ann Lee")
    for taken in ("Bob", "ann"):
        with pytest.raises(InvalidInput, match="there is a thing"):
            await facts.split_off("Ann", [known["Ann lives in Rome"]], taken)
    other = await facts.split_off("Ann", [known["Ann lives in Rome"], known["Bob knows Ann"]], "Ann Lee", kind="person")
    assert (other.name, other.kind) == ("Ann Lee", "person")
    assert ways(await facts.recall("Ann", history=True)) == ["Ann-Oslo"]
    assert sorted(ways(await facts.recall("Ann Lee"))) == ["Ann Lee-Rome", "Bob-Ann Lee"]
    await facts.merge("Ann", "Ann Lee")
    assert sorted(ways(await facts.recall("Ann"))) == ["Ann-Rome", "Bob-Ann"]
    assert len((await facts.recall("Ann", history=True)).facts) == 3


async def test_the_overview_counts_what_is_held(record: Record, facts: Facts):
    await star(record, "hub", 3)
    await link(facts, "a-b")
    await facts.merge("hub", "a")
    found = await facts.overview()
    assert (found.entities, found.facts) == (5, 4)
    assert [(one.name, one.also, one.facts) for one in found.known_best] == [("hub", ["a"], 4)]
