"""Search by words: any characters, any script, and a ranking that can be told."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import delete, insert

from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.results import bring_up_to_date
from atlas_mcp.memory.search import Scope, score_at, search
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.home import open_home
from atlas_mcp.store.record import Record, open_record
from atlas_mcp.store.tables import run

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from atlas_mcp.model.knowledge import Hit
    from atlas_mcp.model.memory_kinds import MemoryKind
    from atlas_mcp.store.postgres import Postgres

pytestmark = pytest.mark.anyio

ME, OTHER = Caller(id="local:me"), Caller(id="key:other", kind="key")


@pytest.fixture
async def record(home: Path, database: Postgres | None) -> AsyncIterator[Record]:
    open_home(home)
    async with open_record(home, database) as opened:
        yield opened


async def find(record: Record, query: str, kind: MemoryKind = "knowledge", caller: Caller = ME) -> list[Hit]:
    async with record.read() as db:
        return await search(db, Scope(caller, (kind,)), Query(query), 8)


HOSTILE = [
    '"', '""', '"a', 'a"b', "*", "a*", "^a", "NEAR(a b)", "a NEAR/2 b", "AND", "OR OR", "NOT", "NOT a", "(", ")",
    "((a)", "text:a", "title : a", "{text}: a", "-a", "a AND NOT b", "a + b", "'; DROP TABLE passage; --", ":caller",
    "%", "_", "\\", "\0", "a\0b", "\ud800", "…", "🍵", "à́", "  ", "\n", "ﷺ", "a" * 2_000, "x y " * 500, "\u202e",
    "½ ²", "०१",
]  # fmt: skip


async def test_no_query_breaks_the_search(record: Record):
    await Documents(ME, record).share("tea", "A text about tea, and a hyphen-ated word.")
    for query in HOSTILE:
        assert isinstance(await find(record, query), list), ascii(query)


SYNTAX = [
    '"', "'", "*", "^", "(", ")", ":", "-", "+", "{", "}", "AND", "OR", "NOT", "NEAR", "|", "&", "!", "<->", "\\",
    "%", "_", "?", ";", "--", "/*", ":kind0", "{scope}", "{rank}",
]  # fmt: skip
RANGES = [(0, 0x20), (0x20, 0x7F), (0xA0, 0x24F), (0x370, 0x6FF), (0x900, 0x11FF), (0x3040, 0x9FFF), (0xAC00, 0xD7AF),
          (0xD800, 0xDFFF), (0xFB00, 0xFFFF), (0x1F300, 0x1FAFF), (0x20000, 0x2FA1F), (0xE0000, 0xE01FF)]  # fmt: skip


def drawn(draw: random.Random) -> str:
    """Some characters of any script, some syntax of full-text queries, and some words that are there."""
    pieces = [
        draw.choice(SYNTAX) if draw.random() < 0.4 else
        draw.choice(["tea", "北京", "茶", "text"]) if draw.random() < 0.3 else
        "".join(chr(draw.randint(*draw.choice(RANGES))) for _ in range(draw.randint(1, 6)))
        for _ in range(draw.randint(1, 30))
    ]  # fmt: skip
    return draw.choice(["", " "]).join(pieces)


async def test_no_query_that_chance_makes_breaks_the_search(record: Record):
    await Documents(ME, record).share("tea", "A text about tea. 我在北京喝茶。")
    await Documents(OTHER, record).share("theirs", "A text about tea. 我在北京喝茶。")
    draw = random.Random(20)
    for _ in range(200):
        query = drawn(draw)
        hits = await find(record, query)
        assert {hit.source for hit in hits} <= {"tea"}, ascii(query)
        assert all(0 <= hit.score <= 1 and hit.why for hit in hits), ascii(query)


@pytest.mark.parametrize(
    ("content", "queries"),
    [
        ("東京大学の歴史について書かれた文書です。", ["東京", "東京大学", "大学の歴史", "歴", "京大学"]),
        ("我在北京工作，喜欢喝茶。", ["北京", "茶", "北京工作", "喝茶"]),
        ("오늘 회의는 세 시에 시작합니다.", ["회의", "회의는", "시작"]),
        ("วันนี้อากาศดีมาก", ["อากาศ", "ดี"]),
        ("Straße und Überfluß im Café", ["straße", "Straß", "uberfluß", "cafe", "CAFÉ"]),
        ("Привет, мир! Совещание в среду.", ["привет", "СОВЕЩАНИЕ", "мир"]),
        ("हिन्दी में लिखा गया पाठ", ["हिन्दी", "लिखा"]),
        ("Call getUserName() in foo_bar.py", ["getusername", "foo_bar", "UserNa"]),
        ("The hyphen-ated AI of C3PO", ["hyphen-ated", "hyphenated ated", "AI", "c3po", "3PO"]),
    ],
)
async def test_every_script_is_found(record: Record, content: str, queries: list[str]):
    await Documents(ME, record).share("noise", "Lorem ipsum dolor sit amet. 別の文章。")
    await Documents(ME, record).share("wanted", content)
    missed = [query for query in queries if "wanted" not in [hit.source for hit in await find(record, query)]]
    assert missed == []


async def test_a_rarer_word_and_more_of_the_words_rank_higher(record: Record):
    mine = Documents(ME, record)
    for n in range(6):
        await mine.share(f"common {n}", f"The report number {n} is about many things.")
    await mine.share("wanted", "The report is about the lighthouse of Eddystone.")
    hits = await find(record, "report lighthouse eddystone")
    assert hits[0].source == "wanted"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert hits[0].score == 1.0


async def test_part_of_a_word_is_found_only_where_words_find_too_little(record: Record):
    mine = Documents(ME, record)
    await mine.share("part", "A catalogue of things.")
    assert [hit.source for hit in await find(record, "talogu")] == ["part"]
    await mine.share("word", "The log is here.")
    assert (await find(record, "log"))[0].source == "word"


def test_a_score_falls_with_the_place_and_rises_with_the_words_that_are_there():
    query = Query("budget of the lighthouse")
    assert score_at(0, query, "the budget of the lighthouse") == 1.0
    assert score_at(0, query, "nothing at all") == 0.5
    scores = [score_at(place, query, "the lighthouse") for place in range(5)]
    assert scores == sorted(scores, reverse=True)
    assert score_at(0, Query("…"), "x") == 0.5


def a_run(run_id: str, caller: Caller = ME, **more: Any) -> dict[str, Any]:
    now = datetime.now(UTC) - timedelta(minutes=5)
    return {
        "id": run_id,
        "caller": caller.id,
        "kind": "team_task",
        "status": "completed",
        "goal": "Where is tea grown?",
        "input": {"project": None},
        "progress": {},
        "usage": {},
        "needs": [],
        "attempts": 1,
        "last_seq": 0,
        "created_at": now,
        "updated_at": now,
        **more,
    }


async def test_what_runs_came_to_is_found_until_the_run_is_deleted(record: Record):
    rows = [
        a_run("run-1", result={"output": "Tea grows in Assam."}),
        a_run("run-2", status="working", result=None),
        a_run("run-3", kind="turn", reply="Kenya grows tea too."),
        a_run("run-4", OTHER, result={"output": "Tea grows in secret."}),
        a_run("run-5", status="failed", result=None),
    ]
    async with record.write() as db:
        for row in rows:
            await db.execute(insert(run).values(row))
    for _ in range(2):
        await bring_up_to_date(ME, record)
    hits = await find(record, "tea", "episodic")
    assert sorted(hit.id for hit in hits) == ["run-1/0", "run-3/0"]
    assert hits[0].source == "Where is tea grown?"
    assert await find(record, "tea", "knowledge") == []
    assert await find(record, "tea", "episodic", OTHER) == [], (
        "the other caller's are brought up to date by its own search"
    )
    async with record.write() as db:
        await db.execute(delete(run).where(run.c.id == "run-1"))
    await bring_up_to_date(ME, record)
    assert [hit.id for hit in await find(record, "tea", "episodic")] == ["run-3/0"]
