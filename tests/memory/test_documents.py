"""Shared documents in the record: revisions, limits, isolation, and deletion that leaves nothing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio
import pytest
from sqlalchemy import text

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory.chunks import LONGEST, OVERLAP, passages, pieces
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.search import Scope, search
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.knowledge import MAX_DOCUMENT, MAX_OBSERVATION, Hit
from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import Record, open_record
from tests.homes import contents

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio

ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


async def find(record: Record, query: str, caller: Caller = ME, limit: int = 8, **narrow: Any) -> list[Hit]:
    async with record.read() as db:
        return await search(db, Scope(caller, ("knowledge",), **narrow), Query(query), limit)


async def names(record: Record, query: str, caller: Caller = ME, **narrow: Any) -> list[str]:
    return [hit.source for hit in await find(record, query, caller, **narrow)]


async def test_a_document_is_found_by_its_words_in_other_forms_and_by_its_name(record: Record):
    made = await Documents(ME, record).share("Tea estates", "Assam grows teas that are sold in Hamburg.")
    assert (made.revision, made.changed, made.author, made.chunks, made.chars) == (1, True, "caller", 1, 42)
    for query in ("growing tea", "HAMBURG", "estate", "who sells what in Hamburg?"):
        (hit,) = await find(record, query)
        assert (hit.source, hit.kind, hit.trust, hit.agent) == ("Tea estates", "knowledge", 1.0, None)
        assert hit.id == f"{made.id}/0"
        assert 0 < hit.score <= 1
    assert await find(record, "coffee") == []


async def test_the_same_name_again_replaces_the_text_as_the_next_revision(record: Record):
    mine = Documents(ME, record)
    first = await mine.share("plan", "We begin in spring.")
    second = await mine.share("plan", "We begin in autumn.")
    assert (second.id, second.revision) == (first.id, 2)
    assert await names(record, "spring") == []
    assert await names(record, "autumn") == ["plan"]
    assert await mine.text_of(first.id) == "We begin in autumn."
    assert len(await mine.all()) == 1


async def test_the_same_text_again_changes_nothing(record: Record):
    mine = Documents(ME, record)
    first = await mine.share("plan", "We begin in spring.")
    again = await mine.share("  plan ", "We begin in spring.")
    assert again == first.model_copy(update={"changed": False})


async def test_each_project_and_each_author_has_names_of_its_own(record: Record):
    mine = Documents(ME, record)
    made = [
        await mine.share("notes", "Tea of the caller."),
        await mine.share("notes", "Tea of the north.", project="north"),
        await mine.share("notes", "Tea of an agent.", author="agent:librarian"),
    ]
    assert len({one.id for one in made}) == 3
    assert [hit.text for hit in await find(record, "tea", project="north")] == ["Tea of the north."]
    (hit,) = await find(record, "tea", author="agent:librarian")
    assert (hit.agent, hit.trust) == ("librarian", 0.6)


async def test_what_an_agent_shared_ranks_below_the_same_words_of_the_caller(record: Record):
    mine = Documents(ME, record)
    await mine.share("by an agent", "The budget is nine thousand.", author="agent:librarian")
    await mine.share("by the caller", "The budget is nine thousand.")
    await mine.share("by another agent", "The budget is nine thousand.", author="agent:strategist")
    assert (await names(record, "budget"))[0] == "by the caller"


async def test_callers_never_meet(record: Record):
    mine, theirs = Documents(ME, record), Documents(OTHER, record)
    made = await mine.share("secret", "The code is 東京 swordfish.")
    for query in ("swordfish", "wordfis", "東京", "code"):
        assert await names(record, query) == ["secret"]
        assert await names(record, query, OTHER) == []
    assert await theirs.text_of(made.id) is None
    assert await theirs.all() == []
    assert not await theirs.delete_document(made.id)
    assert await mine.text_of(made.id) == "The code is 東京 swordfish."
    await theirs.share("secret", "Theirs is another.")
    assert [d.revision for d in await mine.all()] == [1]


async def test_a_deleted_document_is_found_no_more_and_its_words_are_in_no_file_of_the_home(home: Path):
    open_home(home)
    async with open_record(home) as record:
        mine = Documents(ME, record)
        await mine.share("kept", "Something about lighthouses.")
        gone = await mine.share("gone", "The passphrase is xylophonequartz, nothing else.\n\n" * 60)
        assert await names(record, "xylophonequartz")
        assert await mine.delete_document(gone.id)
        assert not await mine.delete_document(gone.id)
        for query in ("xylophonequartz", "lophoneq", "gone"):
            assert await find(record, query) == []
        async with record.write() as db:
            for index in ("passage_words", "passage_parts"):
                await db.execute(text(f"INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)"))
        assert await names(record, "lighthouse") == ["kept"]
    held = b"".join(content for _, content in contents(home))
    assert b"lighthouses" in held
    assert b"xylophonequartz" not in held
    assert b"xylophonequartz"[3:9] not in held


async def test_two_who_share_the_same_name_at_once_both_count(record: Record):
    mine = Documents(ME, record)
    async with anyio.create_task_group() as group:
        for n in range(12):
            group.start_soon(mine.share, "plan", f"version {n} of the plan")
    (kept,) = await mine.all()
    assert kept.revision == 12
    assert len(await find(record, "plan")) == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("", "x", "name: the name is empty"),
        (" \n ", "x", "name: the name is empty"),
        ("n" * 201, "x", "name: 201 characters"),
        ("n", " \n\t", "text: the text is empty"),
        ("n", "a\0b", "text: it is not plain text"),
        ("n", "a\ud800b", "text: it is not plain text"),
        ("n", "x" * (MAX_DOCUMENT + 1), "text: 2,000,001 characters"),
    ],
)
async def test_what_is_no_document_is_refused_and_nothing_is_kept(record: Record, name: str, content: str, words: str):
    with pytest.raises(InvalidInput, match=re.escape(words)):
        await Documents(ME, record).share(name, content)
    assert await Documents(ME, record).all() == []


async def test_an_agent_may_share_observations_and_no_books(record: Record):
    with pytest.raises(OverLimit, match="the limit is 20,000"):
        await Documents(ME, record).share("n", "x" * (MAX_OBSERVATION + 1), author="agent:librarian")


async def test_the_longest_document_is_kept_whole_and_found(record: Record):
    content = (
        "".join(f"Line {n} of the long one.\n" for n in range(100_000))[: MAX_DOCUMENT - 20] + " the needlework end"
    )
    made = await Documents(ME, record).share("long", content)
    assert await Documents(ME, record).text_of(made.id) == content
    assert "needlework" in (await find(record, "needlework"))[0].text


@pytest.mark.parametrize(
    "content",
    [
        "short",
        "One.\n\nTwo.\n\n\n \nThree.",
        "A sentence that goes on. " * 400,
        "無空格的文字。" * 900,
        "x" * 5_000,
        "\n \r\n\t" * 3_000,
        "word " * 3_000 + "\n\n" + "y" * 1_001,
    ],
)
def test_the_passages_of_a_text_are_the_text_and_none_is_too_long(content: str):
    made = passages(content)
    assert "".join(made) == content
    assert all(0 < len(one) <= LONGEST for one in made)
    assert "".join(one.text[one.repeated :] for one in pieces(content)) == content
    assert all(one.repeated <= OVERLAP for one in pieces(content)), "there is no heading"


HANDBOOK = f"""# The harbour

## Boats

```
# this is a remark in a program
```

{"Boats wait at the mole until they are called. " * 30}

### Permits

{"A permit lasts a year and is shown at the gate. " * 12}

## Lamps

{"The lamp is lit at dusk by two keepers. " * 40}
"""


def test_each_passage_says_under_which_headings_it_stands_and_how_the_one_before_ended():
    made = pieces(HANDBOOK)
    boats = [one for one in made if "Boats wait" in one.text[one.repeated :]]
    assert len(boats) > 1
    for one in boats[1:]:
        context = one.text[: one.repeated]
        assert context.startswith("# The harbour\n## Boats\n")
        assert context.removeprefix("# The harbour\n## Boats\n").strip().endswith("until they are called.")
    [permits] = [one for one in made if "### Permits" in one.text[one.repeated :]]
    assert permits.text.startswith("# The harbour\n## Boats\n### Permits"), "it begins a section: nothing before it"
    lamps = [one for one in made if one.text[one.repeated :].startswith("The lamp is lit")]
    assert all(one.text.startswith("# The harbour\n## Lamps\n") for one in lamps)
    assert not any(one.text.rstrip().endswith(("## Boats", "## Lamps")) for one in made), (
        "a heading stays with its text"
    )


async def test_a_passage_is_found_by_its_heading_and_the_document_is_still_the_text(record: Record):
    made = await Documents(ME, record).share("handbook", HANDBOOK)
    hits = await find(record, "permits at the gate")
    assert "### Permits" in hits[0].text
    assert await Documents(ME, record).text_of(made.id) == HANDBOOK


def test_short_paragraphs_go_together_and_sentences_stay_whole():
    made = passages("A small paragraph.\n\n" * 100)
    assert len(made) < 10
    assert all(one.endswith(".\n\n") for one in made)
    cut = passages("This is one sentence of several. " * 200)
    assert all(one.endswith(". ") for one in cut)
