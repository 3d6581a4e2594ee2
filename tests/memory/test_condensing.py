"""Long talks condensed: what is summed up and what stays, who is given which summary, and when a summary goes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from atlas_mcp.errors import ModelFailed, RunLost
from atlas_mcp.memory.condensing import Limits, Summaries
from atlas_mcp.memory.extracting import extract
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.context import ESTIMATE, ContextItem, Counter
from atlas_mcp.model.tokens import estimate_tokens
from atlas_mcp.store.home import open_home
from atlas_mcp.store.memory_tables import summary
from atlas_mcp.store.record import Record, open_record

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio
ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")
WORDS = Counter("words", lambda text: len(text.split()))
SMALL = Limits(most=300, condensed=200, recent=50)
TALK = "conversation-1"


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


def said(number: int, text: str = "") -> ContextItem:
    text = text or f"Message {number} tells of barrel{number} and lamp{number}. It was ordinary weather on that day."
    return ContextItem(id=f"{TALK}/{number}", section="recent", text=text, source=f"agent{number % 3}")


def talk(first: int, last: int) -> list[ContextItem]:
    return [said(n) for n in range(first, last + 1)]


async def condense(record: Record, messages: Sequence[ContextItem], caller: Caller = ME, **more: Any) -> Any:
    given = {"limits": SMALL, "counter": WORDS, **more}
    return await Summaries(caller, record).condense(TALK, messages, **given)


async def rows(record: Record) -> int:
    async with record.read() as db:
        return (await db.execute(select(func.count()).select_from(summary))).scalar_one()


async def test_a_talk_within_its_budget_is_given_as_it_is_and_nothing_is_kept(record: Record) -> None:
    found = await condense(record, talk(1, 20))
    assert found.summary is None
    assert [m.id for m in found.recent] == [m.id for m in talk(1, 20)]
    assert await rows(record) == 0


async def test_beyond_thirty_thousand_tokens_it_comes_down_to_twenty_thousand_and_the_newest_messages(
    record: Record,
) -> None:
    line = "The keeper of lamp {n} found barrel {n} empty and wrote to the harbour office about oil, wicks and glass. "
    messages = [said(n, "".join(line.format(n=f"{n}-{k}") for k in range(20))) for n in range(1, 81)]
    whole = sum(estimate_tokens(m.text) for m in messages)
    assert whole > 30_000
    found = await Summaries(ME, record).condense(TALK, messages)
    assert found.counted_by == ESTIMATE.name
    assert found.summary is not None
    assert estimate_tokens(found.summary.text) <= 20_000
    assert estimate_tokens(found.summary.text) > 10_000
    newest = sum(estimate_tokens(m.text) for m in found.recent)
    assert 0 < newest <= 5_000
    assert found.recent == tuple(messages[-len(found.recent) :])
    assert found.covered + len(found.recent) == len(messages)
    assert found.tokens == estimate_tokens(found.summary.text) + newest < 30_000


async def test_the_newest_message_stays_whole_however_long_it_is(record: Record) -> None:
    last = said(30, " ".join(f"word{n}" for n in range(400)))
    found = await condense(record, [*talk(1, 29), last])
    assert found.recent == (last,)


async def test_a_summary_is_kept_with_what_it_covers_and_given_again_until_the_rest_outgrows_the_budget(
    record: Record,
) -> None:
    first = await condense(record, talk(1, 40))
    async with record.read() as db:
        [row] = list(await db.execute(select(summary)))
    assert (row.id, row.caller, row.subject) == (first.summary.id, ME.id, TALK)
    assert row.covers == [m.id for m in talk(1, first.covered)]
    assert row.tokens == WORDS.count(row.text) <= 200
    again = await condense(record, talk(1, 42))
    assert (again.summary.id, again.by) == (first.summary.id, "kept before")
    assert [m.id for m in again.recent] == [m.id for m in talk(first.covered + 1, 42)]
    assert await rows(record) == 1
    later = await condense(record, talk(1, 80))
    assert later.summary.id != first.summary.id
    assert later.covered > first.covered
    assert await rows(record) == 1, "the one that covers all of it takes its place"


async def test_nobody_is_given_a_summary_of_what_was_not_said_to_them(record: Record) -> None:
    whole = await condense(record, [said(0, "The vault opens with grapefruit."), *talk(1, 40)])
    part = await condense(record, talk(1, 41))
    assert "grapefruit" in whole.summary.text
    assert part.summary.id != whole.summary.id
    assert "grapefruit" not in part.summary.text


async def test_no_summary_crosses_callers(record: Record) -> None:
    mine = await condense(record, talk(1, 40))
    theirs = await condense(record, talk(1, 40), OTHER)
    assert theirs.summary.id != mine.summary.id
    async with record.write() as db:
        assert await Summaries(OTHER, record).drop_covering(db, [f"{TALK}/1"]) == 1
    assert (await condense(record, talk(1, 40))).summary.id == mine.summary.id


async def test_a_summary_goes_with_what_it_covers_and_with_nothing_else(record: Record) -> None:
    await condense(record, [said(1, "Grapefruit opens the vault."), *talk(2, 40)])
    mine = Summaries(ME, record)
    async with record.write() as db:
        assert await mine.drop_covering(db, []) == 0
        assert await mine.drop_covering(db, [f"{TALK}/40", "conversation-2/1", f"{TALK}/", "%", '"']) == 0
        assert await rows(record) == 1
        assert await mine.drop_covering(db, [f"{TALK}/1", f"{TALK}/2"]) == 1
    assert await rows(record) == 0
    found = await condense(record, talk(2, 40))
    assert "rapefruit" not in found.summary.text


async def test_summaries_of_a_talk_that_is_deleted_go_too(record: Record) -> None:
    await condense(record, talk(1, 40))
    async with record.write() as db:
        await Summaries(ME, record).drop_subject(db, TALK)
    assert await rows(record) == 0


async def test_a_model_makes_it_where_there_is_one_and_is_given_the_earlier_summary(record: Record) -> None:
    asked: list[str] = []

    async def model(text: str, room: int) -> str:
        asked.append(text)
        assert room == 200
        return f"summary {len(asked)}"

    first = await condense(record, talk(1, 40), model=model)
    assert (first.summary.text, first.by) == ("summary 1", "a model")
    assert "agent1: Message 1 tells" in asked[0]
    second = await condense(record, talk(1, 80), model=model)
    assert second.summary.text == "summary 2"
    assert asked[1].startswith("Earlier summary: summary 1")
    assert "Message 1 tells" not in asked[1]


@pytest.mark.parametrize("answer", [ModelFailed("it is away"), "", "word " * 201])
async def test_a_model_that_fails_says_nothing_or_too_much_costs_nothing(record: Record, answer: Any) -> None:
    async def model(text: str, room: int) -> str:
        if isinstance(answer, Exception):
            raise answer
        return answer

    found = await condense(record, talk(1, 40), model=model)
    assert found.by == "choosing sentences"
    assert 100 < WORDS.count(found.summary.text) <= 200


async def test_a_run_that_is_lost_while_the_model_works_is_lost(record: Record) -> None:
    async def model(text: str, room: int) -> str:
        raise RunLost("run-1")

    with pytest.raises(RunLost):
        await condense(record, talk(1, 40), model=model)
    assert await rows(record) == 0


def test_an_extract_is_made_of_the_originals_sentences_in_their_order_under_their_speakers_names() -> None:
    texts = [
        ("ada", "The harbour lamp needs oil. Nice day. The harbour lamp needs a new wick!"),
        ("bert", "The oil for the harbour lamp costs 5.50 marks. Well, well."),
        ("ada", "We order oil for the harbour lamp on Friday."),
    ]
    made = extract(texts, 40, lambda text: len(text.split()))
    lines = made.split("\n\n")
    assert [line.split(":")[0] for line in lines] == ["ada", "bert", "ada"]
    for line, (_, text) in zip(lines, texts, strict=True):
        assert all(sentence.strip(" ") in text for sentence in line.split(": ", 1)[1].split(". "))
    assert "5.50 marks" in made
    assert "Nice day" not in extract(texts, 20, lambda text: len(text.split()))
    assert extract(texts, 40, lambda text: len(text.split())) == made


def test_an_extract_says_a_thing_once_where_there_is_something_else_to_say() -> None:
    often = "The harbour lamp needs seven barrels of oil."
    texts = [("a", often)] * 10 + [("b", "Railway tariffs between Hamburg and Kiel rise.")]
    made = extract(texts, 24, lambda text: len(text.split()))
    assert made.count("seven barrels") == 1
    assert "Railway tariffs" in made


@pytest.mark.parametrize("text", ["", "🙂" * 5_000, "灯台守は夜に灯をともした。" * 500, "x" * 50_000, "a\x00b" * 100])
def test_an_extract_of_any_text_keeps_its_budget(text: str) -> None:
    made = extract([("ada", text), ("bert", "The oil is gone.")], 300, estimate_tokens)
    assert estimate_tokens(made) <= 300
