"""Whose the ids are that a text names: those of another caller's runs, agents and memories must not leave.

What looks like one of our ids is rare in what agents write, and told without looking anywhere. Only where there is one
the record is asked whether it is another caller's.
"""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

_RUN = re.compile(r"(?<![A-Za-z0-9_])run_[a-z2-7]{20}(?![A-Za-z0-9_])")
_UUID = re.compile(r"-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![0-9a-f-])")
_KIND = re.compile(r"(?<![A-Za-z0-9])[a-z][a-z-]{1,30}$")
_LONGEST_KIND = 32
MOST_ASKED = 200
"""Ids of one text that are looked up; a text with more is a listing, and its beginning tells whose it is."""


def ids(text: str) -> dict[str, list[int]]:
    """What has the form of an id of ours, and where it begins each time, in order."""
    found: dict[str, list[int]] = {}
    if "run_" in text:
        for match in _RUN.finditer(text):
            found.setdefault(match.group(), []).append(match.start())
    for match in _UUID.finditer(text):
        before = _KIND.search(text[max(0, match.start() - _LONGEST_KIND) : match.start()])
        if before:
            start = match.start() - len(before.group())
            found.setdefault(text[start : match.end()], []).append(start)
    return found


async def of_others(record: Record, caller: Caller, named: Iterable[str]) -> set[str]:
    """Those of the ids that are another caller's. One look into the record. StoreUnavailable."""
    asked = list(named)[:MOST_ASKED]
    if not asked:
        return set()
    from sqlalchemy import select, union_all

    query = union_all(*(select(key).where(key.in_(asked), owner != caller.id) for key, owner in _owned()))
    async with record.read() as db:
        return set((await db.execute(query)).scalars())


@cache
def _owned() -> tuple[tuple[ColumnElement[Any], ColumnElement[Any]], ...]:
    """The columns of ids that are one caller's alone, each with the column that says whose."""
    from atlas_mcp.store import memory_tables, tables

    by_id = (
        *(tables.run, tables.turn, tables.conversation, tables.group_conversation, tables.document),
        *(memory_tables.memory, memory_tables.fact, memory_tables.entity, memory_tables.summary),
    )
    in_letta = (tables.agent, tables.block)
    return (*((t.c.id, t.c.caller) for t in by_id), *((t.c.letta_id, t.c.caller) for t in in_letta))
