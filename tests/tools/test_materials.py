"""What the tools for materials find, and that their places are true."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.constellation.run_files import RunDoor
from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.sources import Source
from tests.tools.conftest import Texts

if TYPE_CHECKING:
    from collections.abc import Callable

    Load = Callable[[str], Callable[..., Any]]
    Make = Callable[..., RunDoor]

PROSE = "\n\n".join(
    f"Chapter {n}. The {'lighthouse' if n == 7 else 'harbour'} stood for years. "
    + f"Sentence {n} goes on and on. " * 12
    for n in range(60)
)


def search(tool: Load, run: RunDoor, query: str, **more: Any) -> list[dict[str, Any]]:
    return json.loads(tool("search_materials")(run, query, **more))["hits"]


def test_search_finds_the_passage_and_says_where_it_begins(tool: Load, a_run: Make):
    run = a_run(book=PROSE, other="Nothing of the kind.")
    hits = search(tool, run, "which chapter has the lighthouses?")
    assert "lighthouse" in hits[0]["text"]
    for hit in hits:
        assert hit["material"] == "book"
        assert PROSE[hit["start"] :].startswith(hit["text"])
        assert len(hit["text"]) <= 800


def test_search_covers_every_word_of_every_material(tool: Load, a_run: Make):
    words = [f"w{n}x" for n in range(3000)]
    run = a_run(one=" ".join(words[:1500]), two="\n\n".join(words[1500:]))
    for word in words[::97]:
        (hit, *_) = search(tool, run, word)
        assert word in hit["text"].split()


def test_search_ranks_more_and_rarer_words_higher_and_keeps_to_the_limit(tool: Load, a_run: Make):
    run = a_run(a="the common common common", b="the rare common", c="the the the")
    assert [h["material"] for h in search(tool, run, "rare common")] == ["b", "a"]
    assert len(search(tool, a_run(book=PROSE), "harbour", limit=3)) == 3
    assert len(search(tool, a_run(book=PROSE), "harbour", limit=-5)) == 1
    assert len(search(tool, a_run(book=PROSE), "harbour", limit=10_000)) == 20


@pytest.mark.parametrize(
    "query",
    ['"', "a AND (b", "NEAR(", "text:*", "'; DROP TABLE passage; --", "ship*", "^ship", "-ship", "{a}:b", "ü", "\0x"],
)
def test_any_query_is_safe(tool: Load, a_run: Make, query: str):
    run = a_run(a="A ship and another ship.")
    if query == '"':
        with pytest.raises(ValueError, match="no words"):
            search(tool, run, query)
    else:
        assert isinstance(search(tool, run, query), list)


def test_search_finds_parts_of_words_and_scripts_without_spaces(tool: Load, a_run: Make):
    run = a_run(a="Die Donaudampfschifffahrt.", b="吾輩は猫である。名前はまだ無い。")
    assert search(tool, run, "dampfschiff")[0]["material"] == "a"
    assert search(tool, run, "名前")[0]["material"] == "b"
    assert search(tool, run, "absent") == []
    assert search(tool, a_run(), "anything") == []


def test_read_gives_a_stretch_and_says_how_to_go_on(tool: Load, a_run: Make):
    run, read = a_run(book=PROSE), tool("read_material")
    text, start = "", 0
    while True:
        head, _, body = read(run, "book", start=start, length=5000).partition("\n")
        text += body
        if "more follows" not in head:
            break
        start = int(head.split("start=")[1].rstrip("]"))
    assert text == PROSE
    assert len(read(run, "book", length=10**9)) < 12_200
    with pytest.raises(ValueError, match="may be 0 to"):
        read(run, "book", start=10**9)
    with pytest.raises(ToolFailed, match="There are: 'book'"):
        read(run, "books")


def test_a_material_is_found_whatever_the_case_of_its_name(tool: Load, a_run: Make):
    assert "[Book.txt: characters 0 to 1 of 1; that is its end]" in tool("read_material")(
        a_run(Book__txt="x"), " book.TXT "
    )


@pytest.mark.parametrize(
    ("quote", "own"),
    [
        ("It's “quoted” — here.", 'It\'s "quoted" - here.'),
        ("the end of a line", "the end of\n   a line"),
        ("THE END", "the end"),
        ("cost (in $) was 5*2?", "cost (in $) was 5*2?"),
    ],
)
@pytest.mark.anyio
async def test_a_quote_is_found_in_the_materials_own_words(tool: Load, a_run: Make, quote: str, own: str):
    text = 'Before. It\'s "quoted" - here. Then the end of\n   a line, and cost (in $) was 5*2? After.'
    said = json.loads(await tool("quote_material")(a_run(a=text), "a", quote))
    assert said == {"found": True, "material": "a", "start": text.index(own), "text": own}


@pytest.mark.anyio
async def test_a_quote_that_is_not_there_comes_with_the_nearest_sentence(tool: Load, a_run: Make):
    run = a_run(a="First things first. The ship sailed early in May. It never came back.")
    said = json.loads(await tool("quote_material")(run, "a", "the ship sailed late in May"))
    assert said["found"] is False
    assert said["nearest"]["text"] == "The ship sailed early in May."
    assert json.loads(await tool("quote_material")(run, "a", "quantum"))["nearest"] is None
    with pytest.raises(ValueError, match="no words"):
        await tool("quote_material")(run, "a", " ... ")


def test_materials_are_listed_with_their_lengths(tool: Load, a_run: Make):
    assert json.loads(tool("list_materials")(a_run(a="xyz"))) == {"materials": [{"name": "a", "characters": 3}]}


@pytest.mark.anyio
async def test_a_quote_is_looked_up_in_what_was_given_from_outside(tool: Load):
    page: dict[str, Any] = {"name": "https://example.org", "title": "", "at": datetime(2026, 1, 1, tzinfo=UTC)}
    given = [Source(**page, text="It rained."), Source(**page, text="Then it snowed.")]
    run = RunDoor(Texts({"a": "Nothing of it."}, given))
    said = json.loads(await tool("quote_material")(run, "https://example.org", "then it snowed"))
    assert (said["found"], said["material"], said["text"]) == (True, "https://example.org", "Then it snowed")
    with pytest.raises(ToolFailed, match=r"There are: 'a', 'https://example\.org'"):
        await tool("quote_material")(run, "https://example.com", "then it snowed")
