"""Memories: kept once with every source, superseded with history, corrected, taken back, each caller's own."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, get_args

import anyio
import pytest
from sqlalchemy import select, update

from atlas_mcp.errors import InvalidInput, OverLimit, StaleRevision, UnknownMemory, UnknownRevision
from atlas_mcp.memory.keeping import keep
from atlas_mcp.memory.memories import Memories
from atlas_mcp.memory.working import Working
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.memory_item import MAX_MEMORY, New
from atlas_mcp.model.memory_kinds import NoteKind
from atlas_mcp.store.memory_tables import memory, memory_revision
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import passage

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="local:me"), Caller(id="local:other")
BLUE, RED = "The lamp of the north pier is blue.", "The lamp of the north pier is red."


@asynccontextmanager
async def opened(home: Path, database: Postgres | None = None) -> AsyncGenerator[Record]:
    home.mkdir(parents=True, exist_ok=True)
    async with open_record(home, database) as record:
        yield record


def new(text: str = BLUE, **changes: Any) -> New:
    return New.model_validate({"kind": "long_term", "text": text} | changes)


async def searched(record: Record, caller: Caller = ME) -> list[tuple[str, str | None]]:
    """The texts that a search could find, with what took their place."""
    async with record.read() as db:
        rows = await db.execute(select(passage).where(passage.c.caller == caller.id).order_by(passage.c.id))
        return [(row.text, row.superseded_by) for row in rows]


async def texts(mine: Memories, **narrowed: Any) -> list[str]:
    return [one.text for one in await mine.list(**narrowed)]


async def test_what_is_kept_has_its_author_source_and_trust_and_can_be_searched(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        kept = await mine.add(new(author="agent:librarian", source="log.txt", quote="blue lamp", run_id="run-1"))
        assert (kept.author, kept.source, kept.quote, kept.revision) == ("agent:librarian", "log.txt", "blue lamp", 1)
        assert 0 < kept.trust < 1 == (await mine.add(new("I like tea."))).trust
        assert await mine.get(kept.id) == kept
        assert await searched(record) == [(BLUE, None), ("I like tea.", None)]


async def test_the_same_text_again_adds_its_source_and_is_kept_once(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        first = await mine.add(new(author="agent:reader", source="log.txt", run_id="run-1"))
        again = await mine.add(new(f" {BLUE.upper()} ", author="agent:reader", source="act.txt", run_id="run-2"))
        assert (again.id, again.text, again.source, again.revision) == (first.id, BLUE, "log.txt\nact.txt", 2)
        assert await mine.add(new(author="agent:reader", source="act.txt", run_id="run-3")) == again
        said = await mine.add(new())
        assert (said.id, said.author, said.trust) == (first.id, "caller", 1.0), "the caller says so, too"
        history = (await mine.get(first.id, history=True)).history or []
        assert [one.operation for one in history] == ["merged", "merged", "created"]
        assert await searched(record) == [(BLUE, None)]
        elsewhere = await mine.add(new(scope="agent:reader"))
        assert elsewhere.id != first.id, "what is for one agent is no other's"


async def test_another_text_under_the_same_key_takes_the_older_ones_place_and_says_so(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        blue, red = await mine.add(new(key="colour")), await mine.add(new(RED, key="colour"))
        assert await texts(mine) == [RED]
        assert (await mine.get(blue.id)).superseded_by == red.id
        assert await searched(record) == [(BLUE, red.id), (RED, None)]
        back = await mine.add(new(key="colour"))
        assert back.id not in {blue.id, red.id}
        assert await texts(mine, everything=True) == [BLUE, RED, BLUE]
        assert await texts(mine) == [BLUE]


async def test_an_agent_never_takes_the_place_of_what_the_caller_said(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        said = await mine.add(new(key="colour"))
        for _ in range(2):
            other = await mine.add(new(RED, key="colour", author="agent:reader", run_id="run-1"))
            assert other.superseded_by == said.id
        assert await texts(mine) == [BLUE]
        assert len(await mine.list(everything=True)) == 2
        await mine.undo(said.id)
        assert await texts(mine) == [RED]


async def test_taking_back_a_memory_brings_back_what_it_had_taken_the_place_of_and_twice_is_none(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        await mine.add(new(key="colour"))
        red = await mine.add(new(RED, key="colour"))
        gone = await mine.undo(red.id)
        assert gone.reason
        assert gone.expires_at is not None
        assert await texts(mine) == [BLUE]
        assert await searched(record) == [(BLUE, None)]
        assert (await mine.undo(red.id)).expires_at is None
        assert await texts(mine) == [RED]
        assert sorted(await searched(record)) == [(BLUE, red.id), (RED, None)]
        await mine.undo(red.id)
        assert await texts(mine) == [BLUE]


async def test_one_taken_back_from_the_middle_leaves_the_newest_standing(home: Path) -> None:
    async with opened(home) as record:
        mine = Memories(ME, record)
        one, two, three = [await mine.add(new(f"There are {n} lamps.", key="lamps")) for n in (1, 2, 3)]
        await mine.undo(two.id)
        assert await texts(mine) == [three.text]
        assert (await mine.get(one.id)).superseded_by == three.id
        await mine.undo(three.id)
        assert await texts(mine) == [one.text]
        await mine.undo(two.id)
        assert await texts(mine) == [two.text]


async def test_a_correction_is_the_callers_own_word_and_can_be_taken_back(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        kept = await mine.add(new(author="agent:reader", source="log.txt", run_id="run-1"))
        right = await mine.correct(kept.id, RED, expected_revision=1)
        assert (right.text, right.author, right.trust, right.revision) == (RED, "caller", 1.0, 2)
        assert await searched(record) == [(RED, None)]
        with pytest.raises(StaleRevision, match="revision 2, not 1"):
            await mine.correct(kept.id, BLUE, expected_revision=1)
        back = await mine.undo(kept.id)
        assert (back.text, back.author, back.revision) == (BLUE, "agent:reader", 3)
        assert (await mine.undo(kept.id, revision=2)).text == RED
        with pytest.raises(UnknownRevision, match="it has 1 to 4"):
            await mine.undo(kept.id, revision=9)
        assert await texts(mine) == [RED]


async def test_a_value_of_working_memory_is_listed_corrected_and_taken_back_like_any_memory(home: Path) -> None:
    async with opened(home) as record:
        mine, working = Memories(ME, record), Working(ME, record)
        await working.set("cups", 3)
        [value] = await mine.list(kinds=["working"])
        await mine.correct(value.id, "4")
        assert await working.get("cups") == 4
        await mine.undo(value.id)
        assert await working.get("cups") == 3
        await mine.undo(value.id, revision=1)
        await mine.undo_run("run-1")
        assert await working.get("cups") == 3


async def test_what_was_superseded_is_not_corrected_but_what_took_its_place(home: Path) -> None:
    async with opened(home) as record:
        mine = Memories(ME, record)
        blue, red = await mine.add(new(key="colour")), await mine.add(new(RED, key="colour"))
        with pytest.raises(InvalidInput, match=f'undo_memory\\(id="{red.id}"\\)'):
            await mine.correct(blue.id, "It is green.")


async def test_all_that_a_run_stored_is_taken_back_but_not_what_was_corrected_since(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        await mine.add(new(key="colour", author="agent:reader"))
        joined = await mine.add(new("The pier has two lamps.", author="agent:reader", source="act.txt"))
        of_run: dict[str, Any] = {"author": "agent:writer", "run_id": "run-1"}
        await mine.add(new(RED, key="colour", **of_run))
        await mine.add(new("The pier has two lamps.", source="log.txt", **of_run))
        alone = await mine.add(new("The pier was built in 1887.", **of_run))
        wrong = await mine.add(new("The pier was built of wod.", **of_run))
        await mine.correct(wrong.id, "The pier was built of wood.")
        await mine.add(new("Another run's.", author="agent:writer", run_id="run-2"))
        assert len(await mine.list(run_id="run-1")) == 4

        undone = await mine.undo_run("run-1")

        assert {one.text for one in undone} == {RED, "The pier has two lamps.", alone.text}
        assert (await mine.get(joined.id)).source == "act.txt"
        left = {BLUE, "The pier has two lamps.", "The pier was built of wood.", "Another run's."}
        assert set(await texts(mine)) == left
        assert {text for text, by in await searched(record) if by is None} == left
        assert await mine.undo_run("run-1") == []
        assert (await mine.undo(alone.id)).reason == "", "one of them is brought back"


async def test_what_was_refused_is_kept_aside_with_the_reason_until_the_caller_corrects_it(home: Path) -> None:
    async with opened(home) as record:
        mine = Memories(ME, record)
        refused = await mine.add(new(reason="it is too short", author="agent:librarian", id="mem-1"))
        assert await texts(mine) == []
        assert await searched(record) == []
        assert await texts(mine, everything=True) == [BLUE]
        with pytest.raises(InvalidInput, match="it is too short"):
            await mine.undo(refused.id)
        right = await mine.correct(refused.id, BLUE)
        assert (right.reason, right.expires_at) == ("", None)
        assert await texts(mine) == [BLUE]


async def test_who_comes_twice_with_the_same_id_finds_what_was_kept_the_first_time(home: Path) -> None:
    async with opened(home) as record:
        mine = Memories(ME, record)
        first = await mine.add(new(id="mem-1"))
        assert await mine.add(new("Something else.", id="mem-1")) == first
        async with record.write() as db:
            await db.execute(update(memory).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
        again = await mine.add(new("Something else.", id="mem-1"))
        assert (again.text, again.revision) == ("Something else.", 1), "what has expired is not found"


async def test_memories_are_listed_by_kind_scope_project_author_and_page(home: Path) -> None:
    async with opened(home) as record:
        mine = Memories(ME, record)
        for kind in get_args(NoteKind):
            await mine.add(new(f"One that is {kind}.", kind=kind))
        await mine.add(new("One of a project.", project="pier", scope="team:research", author="agent:reader"))
        assert await texts(mine, kinds=["working", "procedural"]) == ["One that is procedural.", "One that is working."]
        for narrowed in ({"project": "pier"}, {"scope": "team:research"}, {"author": "agent:reader"}):
            assert await texts(mine, **narrowed) == ["One of a project."]
        whole = await mine.list()
        page = await mine.list(limit=4)
        assert page + await mine.list(limit=4, after=page[-1].id) == whole
        with pytest.raises(InvalidInput, match="limit"):
            await mine.list(limit=0)


async def test_each_kind_has_its_time_and_what_has_run_out_is_never_given(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine = Memories(ME, record)
        begun = datetime.now(UTC)
        kept = {kind: await mine.add(new(f"One that is {kind}.", kind=kind, key="k")) for kind in get_args(NoteKind)}
        hours = {
            kind: round((one.expires_at - begun) / timedelta(hours=1)) if one.expires_at else None
            for kind, one in kept.items()
        }
        assert hours == {"working": 1, "short_term": 72, "episodic": 720, "long_term": None, "procedural": None}
        own = await mine.add(new("A note.", kind="working", lifetime=timedelta(minutes=5)))
        assert own.expires_at is not None
        assert own.expires_at < begun + timedelta(minutes=6)
        async with record.write() as db:
            await db.execute(update(memory).values(expires_at=datetime.now(UTC) - timedelta(seconds=1)))
        assert await mine.list(everything=True) == []
        for call in (mine.get(own.id), mine.correct(own.id, "x"), mine.undo(own.id)):
            with pytest.raises(UnknownMemory, match="it may have expired"):
                await call
        assert (await mine.add(new("Another.", kind="working", key="k"))).revision == 1


async def test_nobody_sees_changes_or_takes_back_what_is_another_callers(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as record:
        mine, theirs = Memories(ME, record), Memories(OTHER, record)
        secret = await mine.add(new(key="colour", run_id="run-1"))
        same = await theirs.add(new(key="colour", source="theirs.txt"))
        assert (same.id != secret.id, same.source) == (True, "theirs.txt")
        assert await theirs.list(run_id="run-1", everything=True) == []
        assert await theirs.undo_run("run-1") == []
        for call in (theirs.get(secret.id), theirs.correct(secret.id, "x"), theirs.undo(secret.id)):
            with pytest.raises(UnknownMemory):
                await call
        with pytest.raises(UnknownMemory):
            await theirs.list(after=secret.id)
        assert await mine.get(secret.id) == secret


async def test_many_who_write_at_once_lose_nothing_and_keep_one_text_under_a_key(
    home: Path, database: Postgres | None
) -> None:
    async with opened(home, database) as record:
        mine, theirs = Memories(ME, record), Memories(OTHER, record)

        async def write(whose: Memories, number: int) -> None:
            await whose.add(new(f"There are {number} lamps.", key="lamps"))
            await whose.add(new("The same for all.", source=f"source {number}"))

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(write, mine, number)
                tasks.start_soon(write, theirs, number)
        for whose, caller in ((mine, ME), (theirs, OTHER)):
            assert len(await whose.list(everything=True)) == 9
            [same] = [one for one in await whose.list() if one.key is None]
            assert len(same.source.splitlines()) == 8
            assert len([one for one in await whose.list() if one.key == "lamps"]) == 1
            assert len([by for _, by in await searched(record, caller) if by is None]) == 2


@pytest.mark.parametrize(
    ("given", "error", "argument"),
    [
        ({"text": "   "}, InvalidInput, "text"),
        ({"text": "a\0b"}, InvalidInput, "text"),
        ({"text": "a\ud800b"}, InvalidInput, "text"),
        ({"text": "x" * (MAX_MEMORY + 1)}, OverLimit, "text"),
        ({"text": BLUE, "scope": "everyone"}, InvalidInput, "scope"),
        ({"text": BLUE, "scope": "all\n"}, InvalidInput, "scope"),
        ({"text": BLUE, "key": "k" * 300}, OverLimit, "key"),
        ({"text": BLUE, "about": "\0"}, InvalidInput, "about"),
        ({"text": BLUE, "source": "\0"}, InvalidInput, "source"),
    ],
)
async def test_what_cannot_be_kept_is_refused_whole(
    home: Path, given: dict[str, Any], error: type[InvalidInput], argument: str
) -> None:
    async with opened(home) as record:
        mine = Memories(ME, record)
        with pytest.raises(error) as told:
            await mine.add_all([new("Fine."), New(kind="long_term", **given)])
        assert told.value.argument == argument
        assert await mine.list(everything=True) == []


@pytest.mark.parametrize(
    "text", ["🏮🏮", "灯台は青い", "המגדלור כחול", "a\u200bb", 'MATCH "x" OR (', "'; DROP TABLE memory; --"]
)
async def test_a_text_of_any_script_is_given_back_as_it_was(home: Path, database: Postgres | None, text: str) -> None:
    async with opened(home, database) as record:
        kept = await Memories(ME, record).add(new(text))
        assert (await Memories(ME, record).get(kept.id)).text == text


async def test_a_write_that_fails_leaves_neither_row_nor_revision_nor_passage(home: Path) -> None:
    async with opened(home) as record:

        async def die() -> None:
            async with record.write(ME.id) as db:
                await keep(db, ME, new())
                raise RuntimeError("the process is about to die")

        with pytest.raises(RuntimeError):
            await die()
        async with record.read() as db:
            for table in (memory, memory_revision, passage):
                assert list(await db.execute(select(table))) == []
