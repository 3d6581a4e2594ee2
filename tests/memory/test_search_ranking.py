"""What a search finds, in which order, and why: all of it through the door that every search goes through."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sqlalchemy import update

from atlas_mcp.errors import StoreUnavailable
from atlas_mcp.memory import postgres_index, sqlite_index
from atlas_mcp.memory.documents import Origin, add_passages
from atlas_mcp.memory.embedding import Query as Question
from atlas_mcp.memory.facts import Facts
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.search import Found
from atlas_mcp.memory.telling import Teller
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.memory_item import New
from atlas_mcp.model.memory_kinds import MemoryKind, scopes_of
from atlas_mcp.store.home import open_home
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage

pytestmark = pytest.mark.anyio

ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")
ALL: tuple[MemoryKind, ...] = ("working", "short_term", "episodic", "long_term", "procedural", "knowledge", "fact")


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


async def remember(record: Record, text: str, caller: Caller = ME, **more: Any) -> str:
    given = New.model_validate({"kind": "long_term", "text": text} | more)
    return (await Memories(caller, record).add(given)).id


async def find(record: Record, asked: str, limit: int = 8, caller: Caller = ME, **narrowed: Any) -> Found:
    return await Finder(record).find(Scope(caller, ALL, **narrowed), Query(asked), limit)


async def texts(record: Record, asked: str, **more: Any) -> list[str]:
    return [hit.text for hit in (await find(record, asked, **more)).hits]


async def put_all(record: Record, told: list[str], caller: Caller = ME) -> None:
    now = datetime.now(UTC)
    async with record.write() as db:
        for n, one in enumerate(told):
            origin = Origin("long_term", f"{caller.id}-{n}", "", "", "caller", 1.0, now)
            await add_passages(db, caller, origin, [one])


async def test_a_hit_says_what_found_it_who_wrote_it_when_and_where_it_is_from(record: Record) -> None:
    await remember(record, "The ferry leaves at nine.", author="agent:librarian", about="the ferry")
    (hit,) = (await find(record, "ferry")).hits
    assert (hit.why, hit.author, hit.agent, hit.source) == ({"words": 1.0}, "agent:librarian", "librarian", "the ferry")
    assert hit.when is not None
    assert hit.trust < 1
    (part,) = (await find(record, "erry")).hits
    assert part.why == {"letters": 1.0}


async def test_what_took_anothers_place_comes_first_and_the_other_says_so(record: Record) -> None:
    old = await remember(record, "The budget of the harbour project is nine thousand.", key="budget")
    new = await remember(record, "It was cut to six thousand.", key="budget")
    hits = (await find(record, "budget of the harbour project")).hits
    assert [hit.id for hit in hits] == [f"{new}/0", f"{old}/0"], "the newer one has none of the words"
    assert [hit.superseded_by for hit in hits] == [None, new]
    assert hits[0].why == {"supersedes": 1.0}
    assert hits[0].score > hits[1].score > 0


async def test_of_three_that_followed_each_other_the_newest_comes_first(record: Record) -> None:
    for text in ("Rent is 500.", "Rent is 600.", "Rent is 700."):
        await remember(record, text, key="rent")
    assert (await texts(record, "rent"))[0] == "Rent is 700."
    assert (await texts(record, "rent 500"))[0] == "Rent is 700."


async def test_what_has_expired_is_not_found_whether_it_was_deleted_or_not(record: Record) -> None:
    await remember(record, "The parcel is at the gate.", lifetime=timedelta(hours=1))
    await remember(record, "The parcel is at the office.")
    assert len(await texts(record, "parcel")) == 2
    later = datetime.now(UTC) + timedelta(hours=2)
    assert await texts(record, "parcel", now=later) == ["The parcel is at the office."]


async def test_what_says_the_same_is_given_once_and_counted(record: Record) -> None:
    told = ["The lamp is blue.", "the lamp is BLUE", "A lamp is blue!", "The lamp is not blue.", "The lamp was blue."]
    await put_all(record, told)
    found = await find(record, "blue lamp")
    assert len(found.hits) == 3, "a denial and another time say something else"
    assert found.repeated == 2


async def test_of_two_with_the_same_words_in_another_order_both_are_given(record: Record) -> None:
    await put_all(
        record, ["Anna pays Ben.", "Ben pays Anna.", "The train from Rome to Bern.", "The train to Rome from Bern."]
    )
    assert len(await texts(record, "Anna Ben")) == 2
    assert len(await texts(record, "train Rome Bern")) == 2


async def test_an_agent_sees_what_is_for_all_for_it_and_for_its_team_only(record: Record) -> None:
    await remember(record, "The well is deep.")
    await remember(record, "The well is dry.", scope="agent:strategist")
    await remember(record, "The well is old.", scope="team:analysis")
    await remember(record, "The well is locked.", scope="agent:librarian")
    await remember(record, "The well is secret.", OTHER)
    seen = await texts(record, "well", scopes=scopes_of("strategist", "analysis"))
    assert sorted(seen) == ["The well is deep.", "The well is dry.", "The well is old."]
    assert len(await texts(record, "well")) == 4, "the caller sees everything of theirs"
    assert await texts(record, "well", caller=OTHER) == ["The well is secret."]


async def test_it_is_narrowed_by_kind_project_author_time_and_trust(record: Record) -> None:
    await remember(record, "Tea of the north.", project="north")
    await remember(record, "Tea of the agent.", author="agent:librarian")
    await remember(record, "Tea is made in a pot.", kind="procedural")
    old = await remember(record, "Tea of long ago.")
    ago = datetime.now(UTC) - timedelta(days=400)
    async with record.write() as db:
        await db.execute(update(passage).where(passage.c.source == old).values(at=ago))
    assert await texts(record, "tea", project="north") == ["Tea of the north."]
    assert await texts(record, "tea", author="agent:librarian") == ["Tea of the agent."]
    assert await texts(record, "tea", agent="librarian") == ["Tea of the agent."]
    assert await texts(record, "tea", until=ago + timedelta(days=1)) == ["Tea of long ago."]
    assert "Tea of long ago." not in await texts(record, "tea", since=ago + timedelta(days=1))
    assert "Tea of the agent." not in await texts(record, "tea", min_trust=0.9)
    found = await Finder(record).find(Scope(ME, ("procedural",)), Query("tea"), 8)
    assert [hit.text for hit in found.hits] == ["Tea is made in a pot."]


async def test_what_nobody_was_given_for_long_comes_later_and_is_never_lost(record: Record) -> None:
    faded, fresh = await remember(record, "The mill is red."), await remember(record, "The mill is tall.")
    ago = datetime.now(UTC) - timedelta(days=2_000)
    async with record.write() as db:
        await db.execute(update(passage).values(at=ago))
        await db.execute(update(passage).where(passage.c.source == faded).values(used_at=None))
        await db.execute(update(passage).where(passage.c.source == fresh).values(used_at=datetime.now(UTC)))
    hits = (await find(record, "mill")).hits
    assert [hit.id for hit in hits] == [f"{fresh}/0", f"{faded}/0"]
    assert hits[1].score > 0.7 * hits[0].score
    async with record.write() as db:
        await db.execute(update(passage).values(used_at=datetime.now(UTC)))
    assert (await find(record, "mill")).hits[0].id == f"{fresh}/0", "equal ones: the newer first"


async def test_facts_around_what_is_asked_about_are_found_by_the_graph(record: Record) -> None:
    told = [
        Triple(subject="Ada Byron", relation="works_for", object="Harbour Mills"),
        Triple(subject="Harbour Mills", relation="owned_by", object="Otto Lind"),
    ]
    await Facts(ME, record).relate(told, Teller("caller", 1.0))
    hits = (await find(record, "Ada Byron")).hits
    assert {"graph"} <= set(hits[0].why)
    assert "Ada Byron" in hits[0].text
    assert any("Otto Lind" in hit.text and "words" not in hit.why for hit in hits), "two steps away"
    assert (await find(record, "Ada Byron", caller=OTHER)).hits == []


@dataclass
class Fixed:
    """Vectors that are given, in the place of an embedder and of the stores of vectors."""

    near: dict[int, float]
    fails: bool = False
    ranks: bool = True
    asked: Scope | None = None

    async def query(self, text: str) -> Question | None:
        return Question("f", np.zeros(3, np.float32))

    async def nearest(
        self, scope: Scope, fingerprint: str, vector: NDArray[np.float32], limit: int
    ) -> list[tuple[int, float]]:
        self.asked = scope
        if self.fails:
            raise StoreUnavailable("it is gone.")
        return list(self.near.items())


async def ids(record: Record) -> dict[str, int]:
    async with record.read() as db:
        return {row.text: row.id for row in await db.execute(passage.select())}


async def test_likeness_and_words_count_half_each_and_strangers_passages_never(record: Record) -> None:
    await put_all(record, ["Elena sold her piano.", "Which instrument is that?", "Rain."])
    await put_all(record, ["Elena's secret."], OTHER)
    known = await ids(record)
    fixed = Fixed(
        {known["Elena sold her piano."]: 0.8, known["Elena's secret."]: 0.99, known["Rain."]: 0.1, 987_654: 1.0}
    )
    finder = Finder(record, fixed, fixed)
    hits = (await finder.find(Scope(ME, ALL, project=""), Query("instrument"), 8)).hits
    assert [hit.text for hit in hits] == ["Which instrument is that?", "Elena sold her piano.", "Rain."]
    assert [set(hit.why) for hit in hits] == [{"words"}, {"vectors"}, {"vectors"}]
    assert fixed.asked is not None
    assert (fixed.asked.kinds, fixed.asked.project) == (ALL, "")


async def test_the_words_answer_where_vectors_fail_or_tell_nothing(record: Record) -> None:
    await put_all(record, ["Elena sold her piano."])
    for fixed in (Fixed({}, fails=True), Fixed({1: 1.0}, ranks=False), Fixed({})):
        found = await Finder(record, fixed, fixed).find(Scope(ME, ALL), Query("piano"), 8)
        assert [hit.why for hit in found.hits] == [{"words": 1.0}]


async def test_frequent_words_are_left_out_where_others_tell_more(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_index, "_COUNTED", 20)
    monkeypatch.setattr(postgres_index, "_COUNTED", 20)
    await put_all(record, [f"The report about subject{n} is common and long." for n in range(60)])
    await put_all(record, ["Common report of mine."], OTHER)
    await remember(record, "A report about Eddystone.")
    hits = (await find(record, "common report Eddystone")).hits
    assert hits[0].text == "A report about Eddystone."
    assert len(await texts(record, "common report")) == 8, "only frequent words: the newest that have them all"
    assert await texts(record, "common report", caller=OTHER) == ["Common report of mine."]
    assert len(await texts(record, "common Eddystone")) >= 1


async def test_short_pieces_of_scripts_without_spaces_are_found_at_the_end_too(record: Record) -> None:
    await put_all(record, ["我住在北京", "她喜欢茶", "東京へ行く", "大阪です", "the 京"])
    assert await texts(record, "北京") == ["我住在北京"]
    assert await texts(record, "茶") == ["她喜欢茶"]
    assert set(await texts(record, "京")) == {"我住在北京", "東京へ行く", "the 京"}
    async with record.write() as db:
        await db.execute(passage.delete().where(passage.c.text == "我住在北京"))
    assert await texts(record, "北京") == []
    assert "我住在北京" not in await texts(record, "京")
