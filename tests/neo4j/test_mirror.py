"""What a graph database over Bolt is told, and what becomes of answers when it is slow, silent, gone, or emptied."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import func, select

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.memory.facts import Facts, Teller
from atlas_mcp.memory.neo4j import link as links
from atlas_mcp.memory.neo4j import mirror as mirrors
from atlas_mcp.memory.neo4j import state as states
from atlas_mcp.memory.neo4j.link import CALL_SECONDS, Link
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Known, Triple
from atlas_mcp.store.memory_tables import derived, outbox
from tests.memory.test_fact_graph import star
from tests.neo4j.conftest import ME, PATIENCE, Between, facts_over, mirrored, until, until_told

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.memory.neo4j.mirror import Mirror
    from atlas_mcp.store.record import Record
    from tests.bolt import RunningBolt

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("quick")]
CALLER = Teller("caller", 1.0)
DEADLINE = 10.0
"""For what must not wait: the deadline of a call and of a walk, and time for a busy machine."""


async def link(record: Record, *pairs: str, caller: Caller = ME) -> None:
    ends = [pair.split("-") for pair in pairs]
    await Facts(caller, record).relate([Triple(subject=a, relation="knows", object=b) for a, b in ends], CALLER)


def ways(known: Known) -> list[str]:
    return [f"{one.subject}-{one.object}" for one in known.facts]


def kept(bolt: RunningBolt, graph: str) -> set[str]:
    rows = bolt.rows(graph, "MATCH (a:AtlasThing)-[f:FACT]->(b) RETURN a.name AS a, coalesce(b.name, b.text) AS b")
    return {f"{row['a']}-{row['b']}" for row in rows}


async def waiting(record: Record) -> int:
    async with record.read() as db:
        query = select(func.count()).select_from(outbox).where(outbox.c.topic == states.GRAPH)
        return (await db.execute(query)).scalar_one()


async def until_empty(record: Record) -> None:
    async def empty() -> bool:
        return not await waiting(record)

    await until(empty, 4 * PATIENCE)


async def until_it_answers(mirror: Mirror, answers: bool = True) -> None:
    async def so() -> bool:
        return mirror.link.answers == answers

    await until(so)


async def test_what_was_told_before_there_was_a_graph_database_gets_there_too(
    record: Record, home: Path, bolt: RunningBolt, graph: str
):
    await link(record, "a-b", "b-c")
    assert await waiting(record) == 0, "nobody is fed yet"
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
        await link(record, "c-d")
        await until_told(mirror)
    assert kept(bolt, graph) == {"a-b", "b-c", "c-d"}
    await link(record, "d-e")
    assert await waiting(record) > 0, "it is told when it is there again"
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
    assert kept(bolt, graph) == {"a-b", "b-c", "c-d", "d-e"}


async def test_what_is_forgotten_leaves_nothing_there(record: Record, home: Path, bolt: RunningBolt, graph: str):
    await link(record, "Ann-Bob")
    await Facts(ME, record).relate([Triple(subject="Ann", relation="has_secret", value="tea")], CALLER)
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
        assert kept(bolt, graph) == {"Ann-Bob", "Ann-tea"}
        ids = [one.id for one in (await Facts(ME, record).recall("Ann")).facts]
        async with record.write(of=ME.id) as db:
            await Facts(ME, record).forget(db, ids)
        await until_empty(record)
    assert bolt.rows(graph, "MATCH (n) WHERE NOT n:AtlasMirror RETURN labels(n) AS labels, n.name AS name") == []


async def test_several_records_and_callers_share_one_graph_database(
    record: Record, home: Path, bolt: RunningBolt, graph: str
):
    other = Caller(id="key:other", kind="key")
    await link(record, "a-mine")
    await link(record, "a-theirs", caller=other)
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
        for caller, found in ((ME, "a-mine"), (other, "a-theirs")):
            assert ways(await Facts(caller, record, walker=mirror).neighbourhood("a", depth=3)) == [found]
    assert kept(bolt, graph) == {"a-mine", "a-theirs"}


async def test_a_thing_with_very_many_neighbours_over_bolt(
    record: Record, home: Path, bolt: RunningBolt, graph: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(mirrors, "WALK_SECONDS", PATIENCE)  # this engine takes seconds for it
    monkeypatch.setattr(links, "CALL_SECONDS", PATIENCE)
    await star(record, "hub", 2_000)
    await link(record, "n1-far")
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_it_answers(mirror)
        await until_empty(record)
        await until_told(mirror)
        facts, counting = facts_over(record, mirror)
        for depth in (1, 3):
            known = await facts.neighbourhood("hub", depth=depth, limit=50)
            assert (len(known.facts), known.more) == (50, True)
        assert (counting.asked, counting.went) == (2, 2)


async def answered_by_the_record(record: Record, mirror: Mirror) -> None:
    """Within the deadline, and rightly."""
    facts, counting = facts_over(record, mirror)
    with anyio.fail_after(DEADLINE):
        assert ways(await facts.neighbourhood("a", depth=2)) == ["a-b", "b-c"]
    assert (counting.asked, counting.went) == (1, 0)


@pytest.mark.parametrize("how", ["silent", "slow", "cut"])
async def test_the_record_answers_while_the_graph_database_does_not_and_it_is_told_later(
    record: Record, home: Path, bolt: RunningBolt, graph: str, between: Between, how: Any
):
    await link(record, "a-b", "b-c")
    async with mirrored(record, home, bolt.address(graph, port=between.port)) as mirror:
        await until_told(mirror)
        between.how = how
        if how == "cut":
            await between.cut()
        await answered_by_the_record(record, mirror)
        await answered_by_the_record(record, mirror)
        with anyio.fail_after(DEADLINE):
            await link(record, "c-d")  # telling waits for nobody
        await answered_by_the_record(record, mirror)
        between.how = "open"
        mirror.rested()
        await until_told(mirror)

        async def walks_again() -> bool:
            facts, counting = facts_over(record, mirror)
            assert ways(await facts.path("a", "d")) == ["a-b", "b-c", "c-d"], "whoever walks"
            return counting.went == 1

        await until(walks_again)
    assert kept(bolt, graph) == {"a-b", "b-c", "c-d"}


async def test_after_one_call_that_got_no_answer_none_waits(
    record: Record, home: Path, bolt: RunningBolt, graph: str, between: Between
):
    await link(record, "a-b", "b-c")
    async with mirrored(record, home, bolt.address(graph, port=between.port)) as mirror:
        await until_told(mirror)
        between.how = "silent"
        await answered_by_the_record(record, mirror)
        await until_it_answers(mirror, answers=False)
        assert mirror.link.since is not None
        begun = anyio.current_time()
        for _ in range(20):
            await answered_by_the_record(record, mirror)
        assert anyio.current_time() - begun < 20 * CALL_SECONDS / 2, "they did not wait for the server"


async def test_one_who_is_cancelled_while_the_graph_database_is_silent_goes_at_once(
    record: Record, home: Path, bolt: RunningBolt, graph: str, between: Between
):
    await link(record, "a-b")
    async with mirrored(record, home, bolt.address(graph, port=between.port)) as mirror:
        await until_told(mirror)
        between.how = "silent"
        facts, _ = facts_over(record, mirror)
        with anyio.fail_after(DEADLINE), anyio.move_on_after(0.05) as scope:
            await facts.neighbourhood("a")
        assert scope.cancelled_caught
        between.how = "open"
        await until_told(mirror)


async def test_an_emptied_graph_database_is_told_everything_anew(
    record: Record, home: Path, bolt: RunningBolt, graph: str, caplog: pytest.LogCaptureFixture
):
    await link(record, "a-b", "b-c")
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
        bolt.rows(graph, "MATCH (n) DETACH DELETE n")
        facts, _ = facts_over(record, mirror)
        with caplog.at_level(logging.WARNING):
            assert ways(await facts.neighbourhood("a", depth=2)) == ["a-b", "b-c"], "never less than is known"
            await link(record, "c-d")
            await until_told(mirror)
    assert kept(bolt, graph) == {"a-b", "b-c", "c-d"}
    assert "told everything anew" in caplog.text


async def test_what_was_told_but_not_heard_of_is_told_again_without_a_double(
    record: Record, home: Path, bolt: RunningBolt, graph: str
):
    """As if the process were killed between the two commits."""
    await link(record, "a-b")
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
    async with record.read() as db:
        before = await states.read(db)
    await link(record, "b-c")
    async with record.read() as db:
        rows = await states.waiting(db, 100)
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
    assert before is not None
    async with record.write() as db:
        await states.keep(db, before)
        for seq, item in rows:
            await db.execute(outbox.insert().values(seq=seq, topic=states.GRAPH, item=item))
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
    async with record.read() as db:
        after = await states.read(db)
    assert after is not None
    assert after.space == before.space, "it did not begin anew"
    pairs = bolt.rows(graph, "MATCH (a:AtlasThing)-[f:FACT]->(b) RETURN a.name AS a, b.name AS b ORDER BY a")
    assert [(row["a"], row["b"]) for row in pairs] == [("a", "b"), ("b", "c")]


async def test_a_record_that_was_put_back_is_told_everything_anew(
    record: Record, home: Path, bolt: RunningBolt, graph: str
):
    await link(record, "a-b")
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)
        async with record.read() as db:
            before = await states.read(db)
        assert before is not None
        for pair in ("b-c", "c-d"):
            await link(record, pair)
            await until_told(mirror)
    async with record.write() as db:  # as a backup has it
        await states.keep(db, before)
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_told(mirror)

        async def all_of_it() -> bool:
            return kept(bolt, graph) == {"a-b", "b-c", "c-d"}

        await until(all_of_it)
    async with record.read() as db:
        after = await states.read(db)
    assert after is not None
    assert after.space != before.space


async def test_two_processes_at_once_tell_it_once(record: Record, home: Path, bolt: RunningBolt, graph: str):
    async with mirrored(record, home, bolt.address(graph)) as one, mirrored(record, home, bolt.address(graph)) as two:
        for n in range(5):
            await link(record, f"a-{n}")
        await until_told(one)
        await until_told(two)
    assert kept(bolt, graph) == {f"a-{n}" for n in range(5)}


@pytest.mark.parametrize(
    "address", ["http://localhost:7687", "bolt://", "bolt://host:port", "localhost:7687", "neo4j://h/a/b", ""]
)
def test_what_is_no_address_of_a_neo4j_is_refused_without_showing_it(address: str):
    with pytest.raises(ConfigurationError, match="not the address of a Neo4j") as refused:
        Link(SecretStr(address))
    assert refused.value.argument == "ATLAS_NEO4J_URL"


def test_the_password_is_not_shown():
    link = Link(SecretStr("neo4j+s://ann:se%40cret@graph.example:7687/facts"))
    assert link.shown == "neo4j+s://graph.example:7687"


async def test_a_wrong_password_is_told_and_the_record_answers(
    record: Record, home: Path, bolt: RunningBolt, graph: str
):
    await link(record, "a-b", "b-c")
    async with mirrored(record, home, f"bolt://root:wrong@127.0.0.1:{bolt.port}/{graph}") as mirror:

        async def refused() -> bool:
            return mirror.link.since is not None

        await until(refused)
        assert "wrong" not in mirror.link.reason
        await answered_by_the_record(record, mirror)


async def test_without_a_neo4j_for_a_day_the_outbox_is_told_no_more(
    record: Record, home: Path, bolt: RunningBolt, graph: str
):
    async with mirrored(record, home, bolt.address(graph)) as mirror:
        await until_it_answers(mirror)
    await link(record, "a-b")
    await states.forsake(record)
    assert await waiting(record) > 0
    async with record.write() as db:
        await db.execute(derived.update().values(at=datetime.now(UTC) - states.FORSAKEN))
    await states.forsake(record)
    await link(record, "b-c")
    assert await waiting(record) == 0
