"""Facts: told, superseded with their history, asked for by both of their times, taken back, forgotten."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import func, select

from atlas_mcp.errors import IllegalChange, InvalidInput, OverLimit
from atlas_mcp.memory.facts import Facts, Teller
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import MAX_TRIPLES, Known, Told, Triple
from atlas_mcp.store.home import open_home
from atlas_mcp.store.memory_tables import entity, fact
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio

ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")
CALLER = Teller("caller", 1.0)


def agent(name: str = "librarian", run: str | None = None, **where: str) -> Teller:
    return Teller(f"agent:{name}", 0.6, run, **where)


def day(year: int, month: int = 1) -> datetime:
    return datetime(year, month, 1, tzinfo=UTC)


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


@pytest.fixture
def facts(record: Record) -> Facts:
    return Facts(ME, record)


async def tell(facts: Facts, subject: str, relation: str, object: str, by: Teller = CALLER, **more: Any) -> Told:
    (told,) = await facts.relate([Triple(subject=subject, relation=relation, object=object, **more)], by)
    return told


def said(known: Known) -> list[str]:
    return [one.object or one.value or "" for one in known.facts]


async def undo_run(record: Record, run: str, caller: Caller = ME) -> list[str]:
    async with record.write(of=caller.id) as db:
        return await Facts(caller, record).undo_run(db, run)


async def forget(record: Record, *ids: str, caller: Caller = ME) -> list[str]:
    async with record.write(of=caller.id) as db:
        return [one.text for one in await Facts(caller, record).forget(db, ids)]


async def count(record: Record, table: Any) -> int:
    async with record.read() as db:
        return (await db.execute(select(func.count()).select_from(table))).scalar_one()


# -- telling and finding


async def test_a_fact_is_found_by_either_of_its_things_however_their_names_are_written(facts: Facts):
    told = await tell(facts, "Ada  Lovelace", "Worked with", "Charles Babbage", sources=["letters.txt"])
    assert (told.outcome, told.fact.relation, told.fact.text) == (
        "new",
        "worked_with",
        "Ada Lovelace worked with Charles Babbage",
    )
    assert [(s.source, s.author, s.trust) for s in told.fact.sources] == [("letters.txt", "caller", 1.0)]
    for about in ("Ada Lovelace", "ada lovelace", "ＡＤＡ LOVELACE", "Charles Babbage", "Whom did Ada Lovelace know?"):
        assert [one.id for one in (await facts.recall(about)).facts] == [told.fact.id], about


async def test_names_in_any_script_and_of_odd_characters_are_told_apart_and_found(facts: Facts):
    for name in ("東京タワー", "Москва", "C++", "C", "🦊", "O'Brien; DROP TABLE fact", 'say "hi"', "100%_sure"):
        await facts.relate([Triple(subject=name, relation="is_like", value=f"value of {name}")], CALLER)
    for name in ("東京タワー", "Москва", "C++", "C", "🦊", "O'Brien; DROP TABLE fact", 'say "hi"', "100%_sure"):
        assert said(await facts.recall(name)) == [f"value of {name}"]
    assert said(await facts.recall("東京タワーはどこですか")) == ["value of 東京タワー"]
    assert said(await facts.recall("Is C++ hard?")) == ["value of C++"]


async def test_what_nobody_told_anything_about_is_said_with_names_like_it(facts: Facts):
    await tell(facts, "Charles Babbage", "built", "Difference Engine")
    known = await facts.recall("Babbage senior")
    assert known.facts == []
    assert known.notes == ["nothing is known of 'Babbage senior'. Names like it: Charles Babbage."]


async def test_no_fact_and_no_thing_crosses_callers(record: Record, facts: Facts):
    mine = await tell(facts, "Ann", "lives_in", "Oslo")
    theirs = Facts(OTHER, record)
    other = await tell(theirs, "Ann", "lives_in", "Rome")
    assert other.superseded == []
    assert said(await facts.recall("Ann")) == ["Oslo"]
    assert said(await theirs.recall("Ann")) == ["Rome"]
    assert (await theirs.recall("Oslo")).notes == ["nothing is known of 'Oslo'."]
    assert await forget(record, mine.fact.id, caller=OTHER) == []
    async with record.write(of=OTHER.id) as db:
        assert await theirs.undo(db, mine.fact.id) == []
    with pytest.raises(InvalidInput, match="no fact"):
        await tell(theirs, "Ann", "knows", "Bob", corrects=mine.fact.id)
    assert said(await facts.recall("Ann")) == ["Oslo"]


async def test_an_agent_sees_what_is_for_all_for_it_and_for_its_team(record: Record, facts: Facts):
    for scope in ("all", "agent:web", "agent:editor", "team:research", "team:writing"):
        await tell(facts, "Ann", "knows", scope, agent("web", scope=scope))
    web = Facts(ME, record, scopes=("all", "agent:web", "team:research"))
    assert set(said(await web.recall("Ann"))) == {"all", "agent:web", "team:research"}
    assert set(said(await web.neighbourhood("Ann"))) == {"all", "agent:web", "team:research"}
    assert (await web.path("Ann", "agent:editor")).facts == []
    assert len((await facts.recall("Ann")).facts) == 5


async def test_facts_of_one_project_can_be_asked_for_alone(facts: Facts):
    await tell(facts, "Ann", "likes", "tea", agent(project="harbour"))
    await tell(facts, "Ann", "likes", "coffee")
    assert said(await facts.recall("Ann", project="harbour")) == ["tea"]
    assert len((await facts.recall("Ann")).facts) == 2


@pytest.mark.parametrize(
    ("given", "argument"),
    [
        ({"subject": " "}, "facts[0].subject"),
        ({"subject": "a\0b"}, "facts[0].subject"),
        ({"subject": "\ud800"}, "facts[0].subject"),
        ({"relation": "__"}, "facts[0].relation"),
        ({"object": None}, "facts[0]"),
        ({"value": "both"}, "facts[0]"),
        ({"confidence": 1.5}, "facts[0].confidence"),
        ({"sources": ["x"] * 11}, "facts[0].sources"),
        ({"true_from": day(2020), "true_until": day(2020)}, "facts[0].true_until"),
        ({"corrects": "fact-none"}, "facts[0].corrects"),
    ],
)
async def test_what_cannot_be_kept_is_refused_by_its_name_and_nothing_of_the_call_is_kept(
    record: Record, facts: Facts, given: dict[str, Any], argument: str
):
    good = Triple(subject="Ann", relation="knows", object="Bob")
    bad = Triple.model_validate({"subject": "Ann", "relation": "knows", "object": "Bob"} | given)
    with pytest.raises(InvalidInput) as refused:
        await facts.relate([bad, good], CALLER)
    assert refused.value.argument == argument
    assert await count(record, fact) == await count(record, entity) == await count(record, passage) == 0


async def test_what_is_too_much_is_refused(facts: Facts):
    with pytest.raises(OverLimit, match="limit is 200"):
        await tell(facts, "x" * 201, "knows", "Bob")
    with pytest.raises(OverLimit, match="limit is 2,000"):
        await facts.relate([Triple(subject="x", relation="is", value="x" * 10_000_000)], CALLER)
    with pytest.raises(InvalidInput, match="1 to 50"):
        await facts.relate([Triple(subject="x", relation="is", value="x")] * (MAX_TRIPLES + 1), CALLER)
    for wrong in (0, 201):
        with pytest.raises(InvalidInput, match="between 1 and 200"):
            await facts.recall("x", limit=wrong)


# -- the two times


async def test_another_object_of_a_functional_relation_supersedes_and_the_history_stays(facts: Facts):
    first = await tell(facts, "Ann", "lives_in", "Oslo")
    second = await tell(facts, "Ann", "lives_in", "Rome")
    assert (second.outcome, second.superseded) == ("new", [first.fact.id])
    assert said(await facts.recall("Ann")) == ["Rome"]
    before = await facts.recall("Ann", known_at=first.fact.learned_at)
    assert said(before) == ["Oslo"]
    assert before.facts[0].superseded_by == second.fact.id
    history = await facts.recall("Ann", history=True)
    assert sorted(said(history)) == ["Oslo", "Oslo", "Rome"]  # held without an end, held with one, and what came then
    ended = next(one for one in history.facts if one.object == "Oslo" and one.superseded_at is None)
    assert ended.true_until == second.fact.learned_at


async def test_what_was_true_then_and_what_was_held_then_are_told_apart(facts: Facts):
    oslo = await tell(facts, "Ann", "lives_in", "Oslo", true_from=day(2010))
    rome = await tell(facts, "Ann", "lives_in", "Rome", true_from=day(2020))
    assert said(await facts.recall("Ann", at=day(2015))) == ["Oslo"]
    assert said(await facts.recall("Ann", at=day(2021))) == ["Rome"]
    assert said(await facts.recall("Ann", at=day(2009))) == []
    assert said(await facts.recall("Ann", at=day(2021), known_at=oslo.fact.learned_at)) == ["Oslo"]
    assert said(await facts.recall("Ann", at=day(2021), known_at=rome.fact.learned_at)) == ["Rome"]
    assert said(await facts.recall("Ann", known_at=oslo.fact.learned_at - timedelta(seconds=1))) == []


async def test_what_was_true_earlier_may_be_told_later_and_ends_where_the_known_begins(facts: Facts):
    await tell(facts, "Ann", "lives_in", "Rome", true_from=day(2020))
    late = await tell(facts, "Ann", "lives_in", "Oslo", true_from=day(2010))
    assert (late.superseded, late.fact.true_until) == ([], day(2020))
    assert said(await facts.recall("Ann")) == ["Rome"]
    assert said(await facts.recall("Ann", at=day(2015))) == ["Oslo"]


async def test_a_time_in_the_middle_leaves_what_was_true_before_and_after(facts: Facts):
    await tell(facts, "Ann", "lives_in", "Oslo", true_from=day(2010))
    await tell(facts, "Ann", "lives_in", "Rome", true_from=day(2015), true_until=day(2016))
    places = [said(await facts.recall("Ann", at=day(year, 6))) for year in (2012, 2015, 2018)]
    assert places == [["Oslo"], ["Rome"], ["Oslo"]]


async def test_what_never_changes_is_corrected_and_not_continued(facts: Facts):
    first = await tell(facts, "Ann", "born_in", "Oslo")
    second = await tell(facts, "Ann", "born_in", "Rome")
    assert second.superseded == [first.fact.id]
    assert said(await facts.recall("Ann", at=day(1990))) == ["Rome"]


async def test_the_caller_can_say_that_any_relation_is_functional_and_it_stays_so(facts: Facts):
    await tell(facts, "Ann", "drinks", "tea")
    assert (await tell(facts, "Ann", "drinks", "water")).superseded == []
    assert len((await tell(facts, "Ann", "drinks", "coffee", functional=True)).superseded) == 2
    assert len((await tell(facts, "Ann", "drinks", "milk")).superseded) == 1
    assert said(await facts.recall("Ann")) == ["milk"]
    assert (await tell(facts, "Ann", "drinks", "juice", functional=False)).superseded == []


async def test_a_fact_that_was_wrong_is_put_right_without_a_trace_in_what_is_true(facts: Facts):
    wrong = await tell(facts, "Ann", "knows", "Bob")
    right = await tell(facts, "Ann", "knows", "Rob", corrects=wrong.fact.id)
    assert right.superseded == [wrong.fact.id]
    assert said(await facts.recall("Ann")) == ["Rob"]
    assert said(await facts.recall("Ann", at=day(1990))) == ["Rob"]
    with pytest.raises(InvalidInput, match="no fact"):
        await tell(facts, "Ann", "knows", "Tom", corrects=wrong.fact.id)


async def test_the_same_again_adds_its_source_and_nothing_else(record: Record, facts: Facts):
    first = await tell(facts, "Ann", "knows", "Bob", agent(), sources=["a.txt"], confidence=0.5)
    again = await tell(facts, "ann", "KNOWS", "bob", agent(), sources=["a.txt"])
    more = await tell(facts, "Ann", "knows", "Bob", sources=["b.txt"])
    assert [one.outcome for one in (first, again, more)] == ["new", "known", "known"]
    assert again.fact.sources == first.fact.sources
    assert [s.source for s in more.fact.sources] == ["a.txt", "b.txt"]
    assert (more.fact.id, more.fact.version, more.fact.trust, more.fact.author) == (first.fact.id, 1, 1.0, "caller")
    assert await count(record, fact) == await count(record, passage) == 1


async def test_when_a_fact_ended_can_be_told_later(facts: Facts):
    first = await tell(facts, "Ann", "works_for", "Acme", true_from=day(2010))
    ended = await tell(facts, "Ann", "works_for", "Acme", true_until=day(2020))
    assert (ended.outcome, ended.fact.id, ended.fact.version) == ("changed", first.fact.id, 2)
    assert (ended.fact.true_from, ended.fact.true_until) == (day(2010), day(2020))
    assert said(await facts.recall("Ann")) == []
    assert said(await facts.recall("Ann", at=day(2015))) == ["Acme"]
    again = await tell(facts, "Ann", "works_for", "Acme")
    assert (again.outcome, again.fact.true_from) == ("new", again.fact.learned_at)
    assert said(await facts.recall("Ann")) == ["Acme"]


async def test_back_to_what_was_before_is_a_fact_of_its_own(facts: Facts):
    for place in ("Oslo", "Rome", "Oslo"):
        last = await tell(facts, "Ann", "lives_in", place)
    assert last.outcome == "new"
    assert said(await facts.recall("Ann")) == ["Oslo"]


async def test_of_many_who_tell_at_once_in_several_processes_one_is_held(
    record: Record, home: Path, database: Postgres | None
):
    async with open_record(home, database) as another:  # as another process has it
        doors = [Facts(ME, one) for one in (record, another)]
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(tell, doors[n % 2], "Ann", "lives_in", f"place {n}")
    known = await doors[0].recall("Ann")
    assert len(known.facts) == 1
    assert known.notes == []
    assert [one.name for one in known.entities] == ["Ann"]
    history = (await doors[0].recall("Ann", history=True, limit=200)).facts
    assert {one.object for one in history} == {f"place {n}" for n in range(20)}


# -- trust


async def test_an_agent_never_takes_the_place_of_what_the_caller_said(facts: Facts):
    mine = await tell(facts, "Ann", "lives_in", "Oslo")
    theirs = await tell(facts, "Ann", "lives_in", "Rome", agent())
    assert (theirs.outcome, theirs.superseded, theirs.contradicts) == ("disputed", [], [mine.fact.id])
    known = await facts.recall("Ann")
    assert said(known) == ["Oslo", "Rome"]
    assert known.notes == ["Ann lives_in: 2 facts contradict each other; the most trusted is the first."]
    with pytest.raises(IllegalChange, match="more trusted"):
        await tell(facts, "Ann", "lives_in", "Rome", agent(), corrects=mine.fact.id)
    ended = await tell(facts, "Ann", "lives_in", "Oslo", agent(), true_until=day(2020))
    assert (ended.outcome, ended.contradicts) == ("disputed", [mine.fact.id])
    assert said(await facts.recall("Ann"))[0] == "Oslo"
    decided = await tell(facts, "Ann", "lives_in", "Rome")
    assert mine.fact.id in decided.superseded or decided.outcome == "known"


# -- taking back


async def test_a_run_is_undone_and_what_it_superseded_is_held_again(record: Record, facts: Facts):
    await tell(facts, "Ann", "lives_in", "Oslo", agent(), true_from=day(2010))
    await tell(facts, "Ann", "lives_in", "Rome", agent(run="run-1"), true_from=day(2020))
    told = await tell(facts, "Ann", "knows", "Bob", agent(run="run-1"))
    assert {one.object for one in await facts.told_by("run-1")} == {"Rome", "Bob"}
    undone = await undo_run(record, "run-1")
    assert len(undone) == 2
    assert said(await facts.recall("Ann")) == ["Oslo"]
    assert said(await facts.recall("Ann", at=day(2021))) == ["Oslo"]
    assert set(said(await facts.recall("Ann", known_at=told.fact.learned_at))) == {"Rome", "Bob"}
    assert await undo_run(record, "run-1") == []
    assert said(await facts.recall("Ann")) == ["Oslo"]
    async with record.read() as db:
        assert [row.text for row in await db.execute(select(passage))] == ["Ann lives in Oslo"]


async def test_undoing_gives_back_only_the_time_that_nothing_else_is_known_of(record: Record, facts: Facts):
    await tell(facts, "Ann", "lives_in", "Oslo", true_from=day(2010))
    await tell(facts, "Ann", "lives_in", "Rome", Teller("agent:x", 1.0, "run-1"), true_from=day(2015))
    await tell(facts, "Ann", "lives_in", "Bern", true_from=day(2020))
    await undo_run(record, "run-1")
    places = [said(await facts.recall("Ann", at=day(year, 6))) for year in (2012, 2017, 2021)]
    assert places == [["Oslo"], ["Oslo"], ["Bern"]]
    assert said(await facts.recall("Ann")) == ["Bern"]


async def test_what_somebody_else_told_too_stays_when_a_run_is_undone(record: Record, facts: Facts):
    told = await tell(facts, "Ann", "knows", "Bob", agent(run="run-1"))
    await tell(facts, "Ann", "knows", "Bob")
    await tell(facts, "Ann", "knows", "Tom")
    await tell(facts, "Ann", "knows", "Tom", agent(run="run-1"))
    assert await undo_run(record, "run-1") == []
    known = await facts.recall("Ann")
    assert set(said(known)) == {"Bob", "Tom"}
    assert {source.author for one in known.facts for source in one.sources} == {"caller"}
    assert {one.author for one in known.facts if one.id == told.fact.id} == {"caller"}


async def test_a_run_that_changed_when_a_fact_was_true_is_undone(record: Record, facts: Facts):
    await tell(facts, "Ann", "works_for", "Acme", agent())
    await tell(facts, "Ann", "works_for", "Acme", agent(run="run-1"), true_until=day(2020))
    assert said(await facts.recall("Ann")) == []
    await undo_run(record, "run-1")
    assert said(await facts.recall("Ann")) == ["Acme"]


async def test_two_undone_runs_do_not_bring_each_other_back(record: Record, facts: Facts):
    await tell(facts, "Ann", "lives_in", "Oslo", agent(run="run-1"))
    await tell(facts, "Ann", "lives_in", "Rome", agent(run="run-2"))
    await undo_run(record, "run-1")
    assert said(await facts.recall("Ann")) == ["Rome"]
    await undo_run(record, "run-2")
    assert said(await facts.recall("Ann")) == []


async def test_one_fact_is_undone_and_what_it_superseded_is_held_again(record: Record, facts: Facts):
    await tell(facts, "Ann", "lives_in", "Oslo")
    told = await tell(facts, "Ann", "lives_in", "Rome")
    async with record.write(of=ME.id) as db:
        assert await facts.undo(db, told.fact.id) == [told.fact.id]
    assert said(await facts.recall("Ann")) == ["Oslo"]


async def test_what_is_forgotten_is_gone_with_its_history_and_its_things(record: Record, facts: Facts):
    old = await tell(facts, "Ann", "lives_in", "Oslo")
    await tell(facts, "Ann", "lives_in", "Rome")
    assert set(await forget(record, old.fact.id)) == {"Ann lives in Oslo"}
    assert said(await facts.recall("Ann", history=True)) == ["Rome"]
    assert said(await facts.recall("Ann", known_at=old.fact.learned_at)) == []
    async with record.read() as db:
        assert {row.name for row in await db.execute(select(entity))} == {"Ann", "Rome"}
        assert [row.text for row in await db.execute(select(passage))] == ["Ann lives in Rome"]
    await forget(record, *[one.id for one in (await facts.recall("Ann")).facts])
    assert await count(record, fact) == await count(record, entity) == await count(record, passage) == 0


# -- beside a search


async def test_facts_around_what_a_question_mentions_are_scored_by_nearness_and_words(record: Record, facts: Facts):
    await tell(facts, "Ann", "works_for", "Acme")
    await tell(facts, "Ann", "likes", "tea")
    await tell(facts, "Acme", "located_in", "Oslo")
    await tell(facts, "Bob", "lives_in", "Rome")
    async with record.read() as db:
        hits = await facts.related(db, "Which company does Ann works for?", 10)
        assert hits[0].fact.text == "Ann works for Acme"
        assert [hit.distance for hit in hits] == [1, 1, 2]
        assert all(0 < hit.score <= 1 for hit in hits)
        assert len(await facts.related(db, "Ann", 1)) == 1
        assert await facts.related(db, "Nobody is meant here", 10) == []
        assert await facts.related(db, '"*(){}^ NEAR OR', 10) == []


async def test_each_fact_is_found_by_a_search_once_and_what_took_its_place_is_known(record: Record, facts: Facts):
    old = await tell(facts, "Ann", "lives_in", "Oslo")
    new = await tell(facts, "Ann", "lives_in", "Rome", agent("web", scope="all"))
    newest = await tell(facts, "Ann", "lives_in", "Bern")
    async with record.read() as db:
        rows = {row.source: row for row in await db.execute(select(passage))}
    assert {one: rows[one].superseded_by for one in rows} == {
        old.fact.id: newest.fact.id,
        new.fact.id: newest.fact.id,
        newest.fact.id: None,
    }
    assert {(row.kind, row.scope, row.title) for row in rows.values()} == {("fact", "all", "Ann")}
