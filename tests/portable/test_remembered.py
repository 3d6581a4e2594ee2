"""What is remembered goes through a file with its history, and comes out of older files as what it is now."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, select

from atlas_mcp.constellation.portable_entries import Knowledge, Package
from atlas_mcp.constellation.portable_file import read_package, write_package
from atlas_mcp.constellation.portable_remembered import CARRIED
from atlas_mcp.constellation.roster import load_roster
from atlas_mcp.errors import BrokenPackage
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.memory_item import New
from atlas_mcp.store.memory_tables import summary
from tests.portable.conftest import atlas_on
from tests.portable.test_hostile_files import unpacked, with_entry

if TYPE_CHECKING:
    from pathlib import Path

    from atlas_mcp.atlas import Atlas
    from atlas_mcp.memory.memories import Memories
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.memory_item import MemoryItem

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
AT = "2026-01-02T03:04:05Z"
SUMMARY = {"id": "s", "subject": "run-1", "text": "It went well.", "covers": list[str](), "tokens": 4, "at": AT}


async def memories(atlas: Atlas, caller: Caller) -> Memories:
    return (await atlas._keeper.rooms()).memory.memories(caller)  # pyright: ignore[reportPrivateUsage]


async def fill(atlas: Atlas) -> None:
    """Memories of every kind and state, facts that took each other's place, and a summary."""
    me = atlas.local_caller()
    mine, notes = await memories(atlas, me), atlas.memories
    await notes.remember(me, "The lamp is blue.", key="colour", project="pier")
    red = await notes.remember(me, "The lamp is red.", key="colour", project="pier")
    await notes.correct(me, red.id, "The lamp is dark red.")
    await mine.add(New(kind="procedural", text="Ask the reader.", author="agent:librarian", run_id="run-1", source="a"))
    await notes.remember(me, "Ada comes on Monday.", kind="short_term", scope="team:research")
    await notes.remember(me, "The kettle is on.", kind="working")
    await mine.add(New(kind="long_term", text="Refused.", reason="it is too short"))
    await notes.undo(me, (await notes.remember(me, "Taken back.")).id)
    for place in ("Northport", "Southport"):
        told = Triple(subject="Ada", relation="lives_in", object=place, functional=True)
        await atlas.facts.relate(me, [told])
    rooms = await atlas._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
    async with rooms.record.write(me.id) as db:
        row = {
            "id": "sum-1",
            "caller": me.id,
            "subject": "run-1",
            "text": "It went well.",
            "covers": ["a"],
            "tokens": 4,
        }
        await db.execute(insert(summary).values(row | {"at": datetime.now(UTC)}))


async def state(atlas: Atlas, caller: Caller) -> list[tuple[Any, ...]]:
    """The memories with all that is known of them, but for their ids."""
    items = await atlas.memories.list(caller, everything=True)
    texts = {one.id: one.text for one in items}
    histories = [(await atlas.memories.get(caller, one.id)).history or [] for one in items]

    def shown(one: MemoryItem) -> tuple[Any, ...]:
        return (one.text, texts.get(one.superseded_by or ""), one.author, one.trust, one.scope, one.created_at, one.key)

    return [(*shown(one), [(r.text, r.operation) for r in past]) for one, past in zip(items, histories, strict=True)]


async def test_memories_facts_and_summaries_come_along_and_what_is_for_the_hour_or_refused_stays(
    tmp_path: Path,
) -> None:
    file = tmp_path / "all.zip"
    async with atlas_on(tmp_path / "a") as here:
        await fill(here)
        me = here.local_caller()
        before = await state(here, me)
        await here.portable.export(me, file)
    staying = {"The kettle is on.", "Refused.", "Taken back."}
    assert staying <= {one[0] for one in before}
    carried = json.dumps(unpacked(file)[1]["knowledge.json"].decode())
    assert not any(text in carried for text in staying)
    async with atlas_on(tmp_path / "b") as there:
        me = there.local_caller()
        await there.portable.import_(me, file)
        assert await state(there, me) == [one for one in before if one[0] not in staying]
        hits = (await there.search_memory(me, "lamp dark red", kinds=["long_term"])).hits
        assert hits[0].text == "The lamp is dark red."
        [red] = [one for one in await there.memories.list(me) if "red" in one.text]
        await there.memories.undo(me, red.id, 1)
        undone = await there.memories.undo_run(me, "run-1")
        assert [one.text for one in undone.memories] == ["Ask the reader."]
        known = await there.facts.recall(me, "Ada")
        assert [fact.object for fact in known.facts] == ["Southport"]
        rooms = await there._keeper.rooms()  # pyright: ignore[reportPrivateUsage]
        async with rooms.record.read() as db:
            assert [row.text for row in await db.execute(select(summary))] == ["It went well."]


async def test_two_callers_of_one_home_import_the_same_file_and_each_has_one_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "all.zip"
    async with atlas_on(tmp_path / "a") as here:
        await fill(here)
        await here.portable.export(here.local_caller(), file)
    async with atlas_on(tmp_path / "b") as there:
        me, other = there.local_caller(), there.access.key_caller()
        for caller in (me, other):
            await there.portable.import_(caller, file)
        assert await state(there, me) == await state(there, other)
        ids = [{one.id for one in await there.memories.list(caller, everything=True)} for caller in (me, other)]
        assert not ids[0] & ids[1]
        for caller in (me, other):
            [fact] = (await there.facts.recall(caller, "Ada")).facts
            assert fact.object == "Southport"
        [red] = [one for one in await there.memories.list(other) if "red" in one.text]
        await there.memories.undo(other, red.id)
        await there.memories.undo(other, red.id)
        assert await state(there, me) != await state(there, other)


async def test_what_an_older_file_calls_learnings_is_remembered(tmp_path: Path) -> None:
    file = tmp_path / "old.zip"
    learned = {
        "id": "lrn-1", "run_id": "run-1", "agent": "librarian", "kind": "procedure", "text": "Quote clauses first.",
        "about": "goals", "audience": "research", "project": "", "source": "event 4", "quote": "", "confidence": 0.9,
        "scores": {"new": 5.0}, "score": 4.5, "trust": 0.6, "at": AT,
    }  # fmt: skip
    common = {"ordinal": 0, "title": "goals", "project": "", "author": "agent:librarian", "trust": 0.6, "at": AT}
    passages = [
        common | {"kind": "learning", "source": "lrn-1", "sha256": "", "text": "Quote clauses first."},
        common | {"kind": "run", "source": "run-1", "sha256": "", "text": "The clauses were quoted."},
    ]
    knowledge = Knowledge.model_validate({"learnings": [learned], "passages": passages})
    write_package(file, Package(roster=load_roster(), knowledge=knowledge))
    async with atlas_on(tmp_path / "b") as there:
        me = there.local_caller()
        await there.portable.import_(me, file)
        [one] = await there.memories.list(me)
        assert (one.id, one.kind, one.author, one.run_id) == ("lrn-1", "procedural", "agent:librarian", "run-1")
        [hit] = (await there.search_memory(me, "quote clauses", kinds=["procedural"])).hits
        assert hit.text == one.text
        assert [one.text for one in (await there.memories.undo_run(me, "run-1")).memories] == ["Quote clauses first."]


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"outbox": [{}]}, "nothing is remembered as 'outbox'"),
        ({"memory": [{"id": "mem-1"}]}, "kind"),
        ({"summary": [SUMMARY | {"caller": "another"}]}, "caller"),
        ({"summary": [SUMMARY | {"tokens": "many"}]}, "tokens"),
        ({"summary": [SUMMARY | {"at": "2026-01-02"}]}, "at"),
    ],
)
async def test_rows_that_do_not_fit_their_table_are_refused(tmp_path: Path, rows: Any, words: str) -> None:
    file = tmp_path / "whole.zip"
    write_package(file, Package(roster=load_roster()))
    knowledge = json.loads(unpacked(file)[1]["knowledge.json"])
    broken = with_entry(file, "knowledge.json", json.dumps(knowledge | {"remembered": {"rows": rows}}).encode())
    with pytest.raises(BrokenPackage, match=r"knowledge\.json") as told:
        read_package(broken)
    assert words in str(told.value)


async def test_two_rows_of_one_id_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "whole.zip"
    write_package(file, Package(roster=load_roster()))
    assert set(SUMMARY) | {"caller"} == set(CARRIED["summary"].columns.keys())
    knowledge = json.loads(unpacked(file)[1]["knowledge.json"])
    for some, fine in (([SUMMARY], True), ([SUMMARY, SUMMARY], False)):
        made = with_entry(
            file, "knowledge.json", json.dumps(knowledge | {"remembered": {"rows": {"summary": some}}}).encode()
        )
        if fine:
            assert read_package(made).knowledge.remembered.ids("summary") == ["s"]
        else:
            with pytest.raises(BrokenPackage, match="there are two of one id"):
                read_package(made)
