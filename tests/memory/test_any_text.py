"""Whatever a text is made of, every door to memory keeps it as it is and finds it again, or refuses it and says why."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import anyio
import pytest

from atlas_mcp.errors import InvalidInput
from atlas_mcp.memory import checking
from atlas_mcp.memory.documents import Documents
from atlas_mcp.memory.hybrid import HybridMemory, open_memory
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.telling import Teller
from atlas_mcp.memory.words import Query
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.fact import Triple
from atlas_mcp.model.memory_item import New
from atlas_mcp.model.stores import StoresConfig
from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(240)]
ANA = Caller(id="local:ana")
ASSIGNED = [chr(c) for c in range(0x20, sys.maxunicode) if unicodedata.category(chr(c))[0] in "LNPSM"]
TEXTS = {
    "every script": " ".join(ASSIGNED[::97]),
    "controls": "".join(chr(c) for c in (*range(1, 32), *range(127, 160))),
    "emoji": "👩‍👩‍👧‍👦 🏳️‍🌈 🇳🇱 👍🏽 \U0001f9ff" * 40,
    "bytes as text": "".join(map(chr, range(1, 256))) * 8,
    "both ways": "abc \u202eعربي\u202c שלום \u2066x\u2069 \u200b\ufeff",
    "marks": "e" + "\u0301\u0323" * 500,
    "full text syntax": "\" ' OR 1=1; -- NEAR( ^a* {b c} : d:e AND NOT -f \\ % _ $1 :name ? <tag> & | !",
    "no spaces": "青鷺湖魚捕" * 300,
    "one word": "x" * 5_000,
    "lines": "\r\n\t\n" * 50 + "end",
}
REFUSED = {
    "a NUL": "before\0after",
    "half a pair": "half \ud83d of it",
    "nothing": " \n ",
    "ten million": "The heron nests. " * 600_000,
}


async def shared(made: HybridMemory, text: str) -> None:
    await Documents(ANA, made.record).share("a document", text)


async def remembered(made: HybridMemory, text: str) -> None:
    await made.memories(ANA).add(New(kind="long_term", text=text))


async def related(made: HybridMemory, text: str) -> None:
    told = Triple(subject="heron", relation="is said to be", value="grey", text=text)
    await made.facts(ANA).relate([told], Teller("caller", 1.0))


DOORS: dict[str, Callable[[HybridMemory, str], Awaitable[None]]] = {
    "shared": shared,
    "remembered": remembered,
    "related": related,
}


async def texts_found(made: HybridMemory, question: str) -> list[str]:
    scope = Scope(ANA, ("knowledge", "long_term", "fact"))
    return [hit.text for hit in (await made.finder.find(scope, Query(question), 50)).hits]


@pytest.fixture
async def made(home: Path, database: Postgres | None) -> AsyncGenerator[HybridMemory]:
    home.mkdir()
    config = StoresConfig(embedder="none")
    async with (
        open_record(home, database) as record,
        open_memory(record, home, Locks(home / "locks"), config) as opened,
    ):
        with anyio.fail_after(200):
            yield opened


async def test_what_is_kept_is_found_as_it_was(made: HybridMemory) -> None:
    for door in (shared, remembered):
        for n, text in enumerate(TEXTS.values()):
            whole = f"zebra{door.__name__}{n} {text} the end."
            await door(made, whole)
            pieces = await texts_found(made, f"zebra{door.__name__}{n}")
            assert pieces, f"{whole[:80]!r} is not found"
            assert any(whole.startswith(piece.rstrip()) for piece in pieces), f"{whole[:80]!r} is not as it was"
    for text in (*TEXTS.values(), *REFUSED.values()):
        await texts_found(made, text[:5_000])
    assert (await checking.check(made)).health == "ok"


@pytest.mark.parametrize("door", DOORS)
async def test_what_is_no_text_or_too_much_is_refused_and_loses_nothing(made: HybridMemory, door: str) -> None:
    await DOORS[door](made, "The grey heron stays here.")
    before = await texts_found(made, "heron")
    assert before
    for name, text in REFUSED.items():
        if (door, name) == ("related", "nothing"):
            continue  # the sentence of a fact is made of its words where there is none
        with pytest.raises(InvalidInput):
            await DOORS[door](made, text)
    assert await texts_found(made, "heron") == before
    assert (await checking.check(made)).health == "ok"
