"""How much a search finds of a set of our own: facts, updates, contradictions, deletions, times, scopes, languages."""

from __future__ import annotations

import json
import statistics
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from atlas_mcp.memory.finding import Finder
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.home import open_home
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import Record, open_record
from tests.memory.recalling import DEEPEST, ME, OTHER, Score, ask, locomo, longmemeval, own, put, put_plainly

pytestmark = pytest.mark.anyio

FLOOR_AT_5 = 0.90
FLOOR_AT_10 = 0.91
"""Measured were 0.932 and 0.947, on SQLite and on PostgreSQL, by words alone; see `benchmarks/recall.py`."""
FLOORS = {"facts": 0.9, "languages": 0.95, "updates": 1.0, "contradictions": 1.0, "time": 1.0, "scopes": 1.0}


@asynccontextmanager
async def opened(home: Path, database: Postgres | None = None) -> AsyncGenerator[Record]:
    open_home(home)
    async with open_record(home, database) as record:
        yield record


def test_the_set_has_what_it_says() -> None:
    case = own()
    ids = [one["memory"] for one in case.memories]
    asked = {one for question in case.questions for one in (*question.wants, *question.before, *question.never)}
    assert len(ids) == len(set(ids)) >= 150
    assert len(case.questions) >= 80
    assert asked <= set(ids)


async def test_what_is_asked_for_is_found_and_nothing_that_must_not_be(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as record:
        case, score = own(), Score()
        await put(record, case)
        await ask(Finder(record), case.questions, ME, score, DEEPEST)
        assert score.leaks == [], "deleted, of another's, out of scope or out of its time"
        assert score.disorder == [], "what is true now comes before what it superseded, the caller before an agent"
        assert statistics.mean(score.at5) >= FLOOR_AT_5, score.line()
        assert statistics.mean(score.at10) >= FLOOR_AT_10, score.line()
        low = {name: score.line() for name, floor in FLOORS.items() if statistics.mean(score.groups[name]) < floor}
        assert low == {}


async def test_another_person_finds_nothing_of_it(home: Path, database: Postgres | None) -> None:
    async with opened(home, database) as record:
        case, finder = own(), Finder(record)
        await put(record, case)
        theirs = {one["memory"] for one in case.memories if one.get("caller") == "other"}
        for question in case.questions[::3]:
            score = Score()
            await ask(finder, [question], Caller(id="key:nobody", kind="key"), score, DEEPEST)
            assert score.at10 == [0.0], question.ask
            found = (await finder.find(question.scope(OTHER), Query(question.ask), DEEPEST)).hits
            assert {hit.id.rsplit("/", 1)[0] for hit in found} <= theirs, question.ask


async def test_the_published_sets_are_read_as_they_are_published(home: Path) -> None:
    talk = {
        "sample_id": "conv-1",
        "conversation": {
            "speaker_a": "Ada",
            "speaker_b": "Ben",
            "session_1_date_time": "1:56 pm on 8 May, 2023",
            "session_1": [
                {"speaker": "Ada", "dia_id": "D1:1", "text": "I adopted a greyhound."},
                {"speaker": "Ben", "dia_id": "D1:2", "text": "My ferry was late."},
            ],
        },
        "qa": [
            {"question": "Who adopted a greyhound?", "answer": "Ada", "evidence": ["D1:1"], "category": 4},
            {"question": "Who flew?", "adversarial_answer": "Ada", "evidence": ["D1:2"], "category": 5},
        ],
    }
    turns = [{"role": "user", "content": "I moved to Bergen.", "has_answer": True}]
    asked = {
        "question_id": "q1",
        "question_type": "single-session-user",
        "question": "Where did I move to?",
        "answer": "Bergen",
        "question_date": "2023/05/30 (Tue) 23:40",
        "haystack_session_ids": ["s1", "s2"],
        "haystack_dates": ["2023/05/20 (Sat) 02:21", "2023/05/21 (Sun) 02:21"],
        "haystack_sessions": [turns, [{"role": "user", "content": "What is a fjord?"}]],
        "answer_session_ids": ["s1"],
    }
    home.mkdir()
    (home / "locomo10.json").write_text(json.dumps([talk]))
    (home / "longmemeval_s.json").write_text(json.dumps([asked, {**asked, "question_id": "q2_abs"}]))
    cases = [*locomo(home / "locomo10.json"), *longmemeval(home / "longmemeval_s.json")]
    assert [len(case.questions) for case in cases] == [1, 1]
    async with opened(home / "kept") as record:
        for n, case in enumerate(cases):
            score, caller = Score(), Caller(id=f"local:{n}")
            await put_plainly(record, case, caller, lambda text: [text])
            await ask(Finder(record), case.questions, caller, score, DEEPEST)
            assert score.at5 == [1.0]
