"""What is remembered that has to do with a text: of one caller, of the project, held now, with where it is from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import insert, select

from atlas_mcp.memory.facts import Facts, Teller
from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.relevant import MOST_MEMORIES, Relevant
from atlas_mcp.memory.uses import Uses
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.memory_item import New
from atlas_mcp.store.home import open_home
from atlas_mcp.store.memory_tables import forgotten
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")
ASKED = "How is the wick of the harbour lamp trimmed?"
WICK = "The wick of the harbour lamp is trimmed every 4 hours."


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


async def texts(record: Record, asked: str = ASKED, caller: Caller = ME, project: str | None = None) -> list[str]:
    return [one.text for one in await Relevant(caller, record).about(asked, project=project)]


async def test_a_memory_is_found_with_its_section_kind_scope_and_source(record: Record) -> None:
    mine = Memories(ME, record)
    one = await mine.add(
        New(
            kind="long_term",
            text=WICK,
            author="agent:librarian",
            run_id="run-7",
            source="log.txt",
            scope="team:research",
        )
    )
    two = await mine.add(New(kind="procedural", text="For a harbour lamp, trim the wick first.", source="the keeper"))
    found = {item.id: item for item in await Relevant(ME, record).about(ASKED)}
    assert set(found) == {one.id, two.id}
    assert (found[one.id].section, found[one.id].kind, found[one.id].scope) == (
        "memories",
        "long_term",
        "team:research",
    )
    assert found[one.id].source == "run-7, log.txt"
    assert found[one.id].at == one.updated_at
    assert 0 < found[one.id].score <= 1
    assert (found[two.id].section, found[two.id].source) == ("procedures", "caller, the keeper")


async def test_what_shares_one_word_only_has_nothing_to_do_with_it(record: Record) -> None:
    await Memories(ME, record).add(New(kind="long_term", text="The harbour office in Kiel opens at nine."))
    assert await texts(record) == []
    assert await texts(record, "harbour") != []
    assert await texts(record, "?! ...") == []


async def test_only_what_is_held_now_is_given(record: Record) -> None:
    mine = Memories(ME, record)
    await mine.add(New(kind="long_term", text=WICK, key="harbour lamp: trimming"))
    await mine.add(New(kind="long_term", text=WICK.replace("4", "6"), key="harbour lamp: trimming"))
    await mine.add(New(kind="long_term", text=WICK.replace("4", "8"), reason="it is not durable"))
    taken_back = await mine.add(New(kind="long_term", text=WICK.replace("4", "9")))
    await mine.undo(taken_back.id)
    assert await texts(record) == [WICK.replace("4", "6")]


async def test_nothing_crosses_callers_or_projects(record: Record) -> None:
    mine = Memories(ME, record)
    await mine.add(New(kind="long_term", text=WICK, project="north"))
    await mine.add(New(kind="long_term", text=WICK.replace("4", "6")))
    await Memories(OTHER, record).add(New(kind="long_term", text=WICK.replace("4", "8")))
    assert await texts(record) == [WICK.replace("4", "6")]
    assert set(await texts(record, project="north")) == {WICK, WICK.replace("4", "6")}
    assert await texts(record, project="south") == [WICK.replace("4", "6")]
    assert await texts(record, caller=OTHER) == [WICK.replace("4", "8")]


async def test_facts_about_what_the_text_names_are_found_with_their_sources(record: Record) -> None:
    triple = Triple(subject="Harbour Lamp", relation="kept_by", object="Ada Lund", sources=["log.txt"])
    await Facts(ME, record).relate([triple], Teller(author="agent:reader", trust=0.6, run_id="run-7"))
    [found] = await Relevant(ME, record).about("Who keeps the Harbour Lamp?")
    assert (found.section, found.kind, found.source) == ("facts", "fact", "run-7, log.txt")
    assert "Ada Lund" in found.text
    assert await texts(record, "Who keeps the Harbour Lamp?", OTHER) == []
    assert await texts(record, "What does bread cost in Kiel?") == []


async def test_there_is_a_most_of_it(record: Record) -> None:
    await Memories(ME, record).add_all(
        [New(kind="long_term", text=f"Lamp {n}: the wick of this harbour lamp burned {n} hours.") for n in range(60)]
    )
    assert 0 < len(await texts(record)) <= MOST_MEMORIES


async def test_what_was_forgotten_since_is_known(record: Record) -> None:
    async with record.write(ME.id) as db:
        told = {"kind": "long_term", "sha256": "0" * 64, "places": [], "at": datetime.now(UTC)}
        await db.execute(insert(forgotten).values(item="mem-1", caller=ME.id, **told))
    assert await Relevant(ME, record).forgotten(["mem-1", "mem-2"]) == {"mem-1"}
    assert await Relevant(OTHER, record).forgotten(["mem-1"]) == frozenset()


@pytest.mark.parametrize("asked", ["", "\x00", '" OR 1=1 --', "NEAR(* ^", "灯台守のランプ", "🙂 🙂", "a" * 20_000])
async def test_any_text_can_be_asked(record: Record, asked: str) -> None:
    await Memories(ME, record).add(New(kind="long_term", text=WICK))
    assert await texts(record, asked) == []


async def test_what_is_given_counts_as_used(record: Record) -> None:
    uses = Uses(record)
    one = await Memories(ME, record).add(New(kind="long_term", text=WICK))
    other = await Memories(ME, record).add(New(kind="long_term", text="Bread costs 5 marks in the port of Kiel."))
    await Relevant(ME, record, Finder(record, uses=uses)).about(ASKED)
    await uses.write_down()
    async with record.read() as db:
        used = {row.source: row.used_at for row in await db.execute(select(passage.c.source, passage.c.used_at))}
    assert used[one.id] is not None
    assert used[other.id] is None
