"""Working memory in the record alone: values under names, for a while."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.memory.working import MAX_VALUE, Place, Working
from atlas_mcp.model.caller import Caller
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record

pytestmark = pytest.mark.anyio
ANA, BEN = Caller(id="local:ana"), Caller(id="local:ben")
EVERY_SCRIPT = "Ωμέγα العربية עברית हिन्दी ไทย 日本語 한국어 Русский 🏳️‍🌈 ﷽ \u202e\u200d"
PLAIN: list[Any] = [
    None,
    True,
    0,
    -1.5,
    10**30,
    "",
    "two\nlines\0and a NUL",
    "half a pair \ud83d",
    EVERY_SCRIPT,
    "'; DROP TABLE memory; -- \\ \" %s :x ?",
    [1, [2, {"deep": [None]}]],
    {"": {"key": "value", "ключ": False}},
]


@asynccontextmanager
async def working(home: Path, database: Postgres | None, caller: Caller = ANA) -> AsyncGenerator[Working]:
    home.mkdir(exist_ok=True)
    async with open_record(home, database) as record:
        yield Working(caller, record)


async def test_every_plain_value_comes_back_as_it_was(home: Path, database: Postgres | None) -> None:
    async with working(home, database) as memory:
        for number, value in enumerate(PLAIN):
            await memory.set(f"value {number}", value)
        for number, value in enumerate(PLAIN):
            assert await memory.get(f"value {number}", default="absent") == value
        assert await memory.names("value 1") == ["value 1", "value 10", "value 11"]


async def test_a_value_is_gone_when_its_time_is_over_or_it_was_deleted(home: Path, database: Postgres | None) -> None:
    async with working(home, database) as memory:
        await memory.set("short", 1, lifetime=timedelta(milliseconds=1))
        await memory.set("deleted", 1)
        assert await memory.delete("deleted")
        assert not await memory.delete("deleted")
        with anyio.fail_after(60):
            while await memory.get("short") is not None:
                await anyio.lowlevel.checkpoint()
        assert await memory.get("deleted", default="absent") == "absent"
        assert await memory.names() == []
        assert await memory.increment("short") == 1, "what is over does not count"


async def test_of_many_increments_at_once_none_is_lost(home: Path, database: Postgres | None) -> None:
    home.mkdir()
    async with open_record(home, database) as one, open_record(home, database) as other:
        async with anyio.create_task_group() as tasks:
            for record in (one, other):
                for _ in range(20):
                    tasks.start_soon(Working(ANA, record).increment, "count")
        assert await Working(ANA, one).get("count") == 40


async def test_of_two_who_take_the_same_step_one_succeeds(home: Path, database: Postgres | None) -> None:
    home.mkdir()
    took: list[str] = []

    async def take(memory: Working, who: str) -> None:
        if await memory.compare_and_set("turn", None, who):
            took.append(who)

    async with open_record(home, database) as one, open_record(home, database) as other:
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(take, Working(ANA, one if number % 2 else other), f"task {number}")
        memory = Working(ANA, one)
        assert took == [await memory.get("turn")]
        assert not await memory.compare_and_set("turn", "somebody else", 1)
        assert await memory.compare_and_set("turn", took[0], True)
        assert not await memory.compare_and_set("turn", 1, "1 is not true")


async def test_neither_another_caller_nor_another_place_sees_a_value(home: Path, database: Postgres | None) -> None:
    home.mkdir()
    async with open_record(home, database) as record:
        everywhere = [
            Working(caller, record, place=place)
            for caller in (ANA, BEN)
            for place in (Place(), Place("agent:librarian"), Place("team:research"), Place(project="atlas"))
        ]
        for number, memory in enumerate(everywhere):
            await memory.set("name", number)
        assert [await memory.get("name") for memory in everywhere] == list(range(8))
        assert await everywhere[0].delete("name")
        assert [await memory.get("name") for memory in everywhere] == [None, *range(1, 8)]


@pytest.mark.parametrize("value", [math.nan, math.inf, b"bytes", object(), {1, 2}])
async def test_what_is_no_plain_json_is_refused_and_changes_nothing(home: Path, value: Any) -> None:
    async with working(home, None) as memory:
        await memory.set("name", "before")
        with pytest.raises(InvalidInput, match="no plain JSON"):
            await memory.set("name", value)
        assert await memory.get("name") == "before"


async def test_bad_names_times_and_sizes_are_told(home: Path) -> None:
    async with working(home, None) as memory:
        for name in ("", "  ", "two\nlines", "a\0b"):
            with pytest.raises(InvalidInput, match="name"):
                await memory.set(name, 1)
        with pytest.raises(OverLimit, match="name"):
            await memory.set("n" * 201, 1)
        with pytest.raises(OverLimit, match="share_knowledge"):
            await memory.set("big", "x" * 10_000_000)
        await memory.set("just so", "x" * (MAX_VALUE - 2))
        for lifetime in (timedelta(), timedelta(seconds=-1), timedelta(days=31)):
            with pytest.raises(InvalidInput, match="lifetime"):
                await memory.set("name", 1, lifetime=lifetime)
        await memory.set("word", "no number")
        with pytest.raises(InvalidInput, match="no whole number"):
            await memory.increment("word")
        assert await memory.names() == ["just so", "word"]
