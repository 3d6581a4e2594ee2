"""The full-text indexes: they have all passages and none else, and a passage is found by a word that stands in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, func, select, text

from atlas_mcp.memory import postgres_index
from atlas_mcp.memory.checks.found import MOST, problem, told
from atlas_mcp.store.tables import passage

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.hybrid import HybridMemory
    from atlas_mcp.model.checked import StoreCheck

# Words that no rule of any tokenizer cuts otherwise.
_PLAIN = re.compile(r"(?:^|(?<=\s))[a-z]{3,40}(?=[\s.,;:!?]|$)")
_INDEXES = {
    "sqlite": ("passage_words_docsize", "passage_parts_docsize"),
    "postgresql": ("passage_words", "passage_parts"),
}
_FOUND = {
    "sqlite": "SELECT (SELECT count(*) FROM passage_words WHERE passage_words MATCH :quoted AND rowid = :id)"
    " + (SELECT count(*) FROM passage_parts WHERE passage_parts MATCH :quoted AND rowid = :id)",
    "postgresql": "SELECT (SELECT count(*) FROM passage_words WHERE id = :id AND words @@"
    " CAST(quote_literal(coalesce((ts_lexize('passage_forms', :word))[1], :word)) AS tsquery))"
    " + (SELECT count(*) FROM passage_parts WHERE id = :id AND strpos(folded, :word) > 0)",
}


async def look(memory_of: HybridMemory, sample: int, *, repair: bool) -> StoreCheck:
    """Both indexes' entries, and questions for words of some passages."""
    async with memory_of.record.read() as db:
        lacking, extra = await _differences(db)
        unfound, asked = await _unfound(db, sample)
    wrong = {*lacking, *unfound}
    if repair and (wrong or extra):
        await _mend(memory_of, wrong)
    found = [
        *problem("passages are in no index", len(lacking), mended=repair),
        *problem("entries of an index have no passage", len(extra), mended=repair),
        *problem("passages are not found by their own words", len(unfound), mended=repair),
    ]
    return told("words", asked, found)


async def _differences(db: AsyncConnection) -> tuple[set[int], set[int]]:
    lacking: set[int] = set()
    extra: set[int] = set()
    for index in _INDEXES[db.dialect.name]:
        here, there = "SELECT id FROM passage", f"SELECT id FROM {index}"  # noqa: S608 - our own names
        lacking.update((await db.execute(text(f"{here} EXCEPT {there} LIMIT {MOST}"))).scalars())
        extra.update((await db.execute(text(f"{there} EXCEPT {here} LIMIT {MOST}"))).scalars())
    return lacking, extra


async def _unfound(db: AsyncConnection, sample: int) -> tuple[set[int], int]:
    some = select(passage.c.id).order_by(func.random()).limit(sample)  # numbers alone: texts would all be sorted along
    chosen = await db.execute(select(passage.c.id, passage.c.text).where(passage.c.id.in_(some)))
    words = {row.id: max(found, key=len) for row in chosen if (found := _PLAIN.findall(row.text.lower()))}
    question = text(_FOUND[db.dialect.name])
    if db.dialect.name == "postgresql":
        question = question.bindparams(bindparam("word", type_=passage.c.text.type))
    unfound: set[int] = set()
    for number, word in words.items():
        given: dict[str, Any] = {"id": number, "word": word, "quoted": f'"{word}"'}
        if db.dialect.name == "postgresql":
            del given["quoted"]
        if (await db.execute(question, given)).scalar_one() < 2:
            unfound.add(number)
    return unfound, len(words)


async def _mend(memory_of: HybridMemory, wrong: set[int]) -> None:
    async with memory_of.record.write() as db:
        if db.dialect.name == "sqlite":
            for index in ("passage_words", "passage_parts"):
                await db.execute(text(f"INSERT INTO {index}({index}) VALUES ('rebuild')"))  # noqa: S608 - our own names
            return
        for index in ("passage_words", "passage_parts"):
            await db.execute(text(f"DELETE FROM {index} WHERE id NOT IN (SELECT id FROM passage)"))  # noqa: S608 - our own names
            await db.execute(text(f"DELETE FROM {index} WHERE id = ANY(:ids)"), {"ids": list(wrong)})  # noqa: S608
        for number in wrong:
            row = (await db.execute(select(passage).where(passage.c.id == number))).one_or_none()
            if row is not None:
                await postgres_index.write(db, {number: (row.title, row.text)})
