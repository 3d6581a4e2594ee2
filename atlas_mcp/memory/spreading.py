"""Where a text went within the record: journals, results, artifacts, turns, questions, texts from outside, comments,
talks, summaries, old revisions.

Promise: of one caller's rows, every one that holds the text is found, and written anew without it; where a row of a run
holds it, its telling words go from all rows of that run. Rows are read in pages and changed in small writes, so that
nobody waits long; what is written meanwhile is found by calling again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio.to_thread
from sqlalchemy import and_, select, tuple_, update

from atlas_mcp.memory.documents import remove_passages
from atlas_mcp.store import memory_tables, quality_tables, reach_tables, tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Row, Table

    from atlas_mcp.memory.redacting import Redactor
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.record import Record

_PAGE = 200


@dataclass(frozen=True, slots=True)
class _Kept:
    """A table with texts: what people call it, which columns name a row, which hold text, whose run a row is of."""

    place: str
    table: Table
    keys: tuple[str, ...]
    texts: tuple[str, ...]
    run: str | None = None

    def of(self, caller: Caller) -> ColumnElement[bool]:
        """Whether a row is the caller's."""
        if "caller" in self.table.c:
            return self.table.c.caller == caller.id
        owner, key = (
            (tables.group_conversation, "conversation")
            if self.table is tables.group_message
            else (tables.run, "run_id")
        )
        return self.table.c[key].in_(select(owner.c.id).where(owner.c.caller == caller.id))

    def mended(self, row: Row[Any], redactor: Redactor, *, beside: bool) -> dict[str, Any]:
        """The columns of the row that become others."""
        made = {name: redactor.mend(getattr(row, name), beside) for name in self.texts}
        return {name: value for name, value in made.items() if value is not getattr(row, name)}


KEPT = (
    _Kept(
        "runs",
        tables.run,
        ("id",),
        ("goal", "input", "plan", "progress", "result", "reply", "error", "note"),
        "id",
    ),
    _Kept("journals", tables.event, ("run_id", "seq"), ("text", "data"), "run_id"),
    _Kept("artifacts of runs", tables.artifact, ("id",), ("text",), "run_id"),
    _Kept("questions of runs", tables.question, ("id",), ("text", "options", "words", "safe", "answer"), "run_id"),
    _Kept("texts from outside", reach_tables.source, ("id",), ("title", "text"), "run_id"),
    _Kept("pages of the web", reach_tables.page, ("caller", "address"), ("read",)),
    _Kept("calls of tools", reach_tables.held_call, ("id",), ("arguments", "answer"), "run_id"),
    _Kept("turns", tables.turn, ("id",), ("message", "result", "error"), "run_id"),
    _Kept("comments on work", quality_tables.feedback, ("id",), ("comment",), "run_id"),
    _Kept("group talks", tables.group_message, ("conversation", "number"), ("text",), "run_id"),
    _Kept("earlier values of memory blocks", tables.revision, ("block_id", "number"), ("value",)),
    _Kept("summaries", memory_tables.summary, ("id",), ("text",)),
)


async def spread(record: Record, caller: Caller, redactor: Redactor, *, dry: bool = False) -> Counter[str]:
    """Take the texts out of all of the caller's rows, unless `dry`; how many rows of which place hold them."""
    found: Counter[str] = Counter()
    runs: set[str] = set()
    if not redactor:
        return found
    for kept in KEPT:
        found[kept.place] += await _through(record, caller, kept, redactor, runs, dry=dry)
    if runs and not dry:
        for kept in KEPT:
            if kept.run:
                of_these = kept.table.c[kept.run].in_(sorted(runs))
                await _through(record, caller, kept, redactor, set(), only=of_these, dry=dry)
    return +found


async def _through(
    record: Record,
    caller: Caller,
    kept: _Kept,
    redactor: Redactor,
    runs: set[str],
    *,
    dry: bool,
    only: ColumnElement[bool] | None = None,
) -> int:
    """Go through one table; how many rows hold the texts. The runs that these are of are added to `runs`."""
    keys = [kept.table.c[name] for name in kept.keys]
    wanted = [*keys, *(kept.table.c[name] for name in kept.texts if name not in kept.keys)]
    if kept.run and kept.run not in kept.keys:
        wanted.append(kept.table.c[kept.run])
    mine = kept.of(caller) if only is None else and_(kept.of(caller), only)
    count, last = 0, None
    while True:
        page = select(*wanted).where(mine).order_by(*keys).limit(_PAGE)
        if last is not None:
            page = page.where(tuple_(*keys) > tuple_(*last))
        async with record.read() as db:
            rows = list(await db.execute(page))
        holding = await anyio.to_thread.run_sync(_holding, kept, rows, redactor, only is not None)
        count += len(holding)
        runs.update(str(getattr(row, kept.run)) for row in holding if kept.run and getattr(row, kept.run))
        if holding and not dry:
            await _write(record, caller, kept, holding, redactor, beside=only is not None)
        if len(rows) < _PAGE:
            return count
        last = [getattr(rows[-1], name) for name in kept.keys]


def _holding(kept: _Kept, rows: Sequence[Row[Any]], redactor: Redactor, beside: bool) -> list[Row[Any]]:
    return [row for row in rows if kept.mended(row, redactor, beside=beside)]


async def _write(
    record: Record, caller: Caller, kept: _Kept, rows: Sequence[Row[Any]], redactor: Redactor, *, beside: bool
) -> None:
    keys = [kept.table.c[name] for name in kept.keys]
    async with record.write() as db:
        for row in rows:
            here = and_(*(key == getattr(row, key.name) for key in keys))
            now = (await db.execute(select(kept.table).where(here))).one_or_none()
            if now is None:
                continue
            if changed := kept.mended(now, redactor, beside=beside):
                await db.execute(update(kept.table).where(here).values(changed))
            if kept.table is tables.run:  # what is searched of it is made from it again
                await remove_passages(db, caller, now.id)
