"""Listing rows in Letta's way: a bare array, with a cursor that is the id of an item, in either direction.

`after` gives what follows the cursor in the asked order, `before` what comes just before it; so a client that goes on
with `after=<last id>` until it gets an empty page always ends.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import Depends, Query

from atlas_mcp.embedded.faults import Refused

Order = Literal["asc", "desc"]
_MOST = 1_000


@dataclass(frozen=True)
class Page:
    """What part of a list is wanted. `order` None means: the list's own order."""

    limit: int | None = None
    after: str | None = None
    before: str | None = None
    order: Order | None = None


def _page(
    limit: Annotated[int | None, Query(ge=0)] = None,
    after: str | None = None,
    before: str | None = None,
    order: Order | None = None,
    ascending: bool | None = None,
) -> Page:
    if order is None and ascending is not None:
        order = "asc" if ascending else "desc"
    return Page(limit, after, before, order)


Paged = Annotated[Page, Depends(_page)]


def select(
    connection: sqlite3.Connection,
    query: str,
    parameters: Sequence[Any],
    page: Page,
    *,
    table: str,
    order: Order,
    default_limit: int = 50,
) -> list[sqlite3.Row]:
    """The rows of `query` (which ends in its WHERE clause and selects from `table` as `t`) that the page asks for.

    Raises a 404 for a cursor that does not exist, rather than starting again from the beginning.
    """
    direction = page.order or order
    limit = min(page.limit if page.limit is not None else default_limit, _MOST)
    values = list(parameters)
    for cursor, forward in ((page.after, True), (page.before, False)):
        if cursor is not None:
            newer = (direction == "asc") == forward
            query += f" AND t.seq {'>' if newer else '<'} ?"
            values.append(_seq(connection, table, cursor))
    backwards = page.before is not None and page.after is None
    ascending = (direction == "asc") != backwards
    rows = connection.execute(f"{query} ORDER BY t.seq {'ASC' if ascending else 'DESC'} LIMIT ?", (*values, limit))
    found = rows.fetchall()
    return found[::-1] if backwards else found


def _seq(connection: sqlite3.Connection, table: str, id: str) -> int:
    row = connection.execute(f"SELECT seq FROM {table} WHERE id = ?", (id,)).fetchone()  # noqa: S608
    if row is None:
        raise Refused(404, f"The cursor {id} does not exist: it may have been deleted. Start again without it.")
    return int(row[0])


def cut(items: list[dict[str, Any]], page: Page, *, default_limit: int = 100) -> list[dict[str, Any]]:
    """The page of a short list that is already in ascending order and in memory."""
    ordered = items[::-1] if page.order == "desc" else items
    positions = {item["id"]: index for index, item in enumerate(ordered)}
    limit = min(page.limit if page.limit is not None else default_limit, _MOST)
    if page.after is not None:
        start = positions.get(page.after, len(ordered)) + 1
        return ordered[start : start + limit]
    if page.before is not None:
        end = positions.get(page.before, 0)
        return ordered[max(0, end - limit) : end]
    return ordered[:limit]
