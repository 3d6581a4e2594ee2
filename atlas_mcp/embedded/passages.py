"""An agent's archive: texts that are searched by words (SQLite's full-text index), not carried in the prompt.

Any characters may stand in a query. Every word counts as the beginning of a word; the best match comes first. Where
the index finds nothing, the query is looked for as plain text, which also serves languages that write no spaces.
"""

from __future__ import annotations

import json
import re
import sqlite3
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse, Response

from atlas_mcp.embedded import agents, paging
from atlas_mcp.embedded.bodies import NewPassage
from atlas_mcp.embedded.database import moment, now
from atlas_mcp.embedded.faults import not_found
from atlas_mcp.embedded.memory import add_passage
from atlas_mcp.embedded.paging import Paged

if TYPE_CHECKING:
    from atlas_mcp.embedded.services import Services

_MOST_WORDS = 32
_MOST_HITS = 1_000


@dataclass(frozen=True)
class Search:
    query: str
    tags: tuple[str, ...] = ()
    match_all: bool = False
    start: str | None = None
    end: str | None = None
    limit: int = 10

    @property
    def words(self) -> list[str]:
        return words_of(self.query) or [self.query]


def words_of(query: str) -> list[str]:
    """The words of a query, each once, at most 32."""
    return list(dict.fromkeys(re.findall(r"\w+", query)))[:_MOST_WORDS]


def search(connection: sqlite3.Connection, agent_id: str, wanted: Search) -> list[sqlite3.Row]:
    """The best passages first; an empty query gives the newest."""
    conditions, values = _conditions(agent_id, wanted)
    if not wanted.query.strip():
        query = f"SELECT t.* FROM passage t WHERE {conditions} ORDER BY t.seq DESC LIMIT ?"  # noqa: S608
        return connection.execute(query, (*values, wanted.limit)).fetchall()
    words = words_of(wanted.query)
    if words:
        match = " OR ".join(f'"{word}"*' for word in words)
        query = (
            "SELECT t.* FROM passage_words w JOIN passage t ON t.seq = w.rowid"  # noqa: S608
            f" WHERE passage_words MATCH ? AND {conditions} ORDER BY bm25(passage_words), t.seq DESC LIMIT ?"
        )
        found = connection.execute(query, (match, *values, wanted.limit)).fetchall()
        if found:
            return found
    query = (
        f"SELECT t.* FROM passage t WHERE {conditions} AND instr(lower(t.text), lower(?)) ORDER BY t.seq DESC LIMIT ?"  # noqa: S608
    )
    return connection.execute(query, (*values, wanted.query.strip(), wanted.limit)).fetchall()


def _conditions(agent_id: str, wanted: Search) -> tuple[str, list[Any]]:
    conditions, values = ["t.agent_id = ?"], list[Any]([agent_id])
    if wanted.tags:
        conditions.append(
            "(SELECT count(DISTINCT value) FROM json_each(t.tags) WHERE value IN (SELECT value FROM json_each(?))) >= ?"
        )
        values += [json.dumps(wanted.tags), len(set(wanted.tags)) if wanted.match_all else 1]
    if wanted.start:
        conditions.append("t.created_at >= ?")
        values.append(wanted.start)
    if wanted.end:
        conditions.append("t.created_at <= ?")
        values.append(wanted.end)
    return " AND ".join(conditions), values


def wire(row: sqlite3.Row) -> dict[str, Any]:
    """A passage in Letta's shape; it has no embedding, because it is found by its words."""
    return {
        "id": row["id"],
        "text": row["text"],
        "tags": json.loads(row["tags"]),
        "metadata": json.loads(row["metadata"]),
        "archive_id": row["agent_id"].replace("agent-", "archive-", 1),
        "source_id": None,
        "file_id": None,
        "file_name": None,
        "is_deleted": False,
        "embedding": None,
        "embedding_config": None,
        "created_at": row["created_at"],
        "updated_at": row["updated_at"],
    }


def routes(services: Services) -> APIRouter:
    """`/v1/agents/{agent_id}/archival-memory`: add, list, search, delete."""
    router, database = APIRouter(prefix="/v1/agents/{agent_id}/archival-memory"), services.database

    @router.post("")
    async def create_passage(agent_id: str, passage: NewPassage) -> Response:
        def work(connection: sqlite3.Connection) -> sqlite3.Row:
            agents.get(connection, agent_id)
            when = moment(passage.created_at) if passage.created_at else now()
            passage_id = add_passage(connection, agent_id, passage.text, tuple(passage.tags or ()), when)
            return connection.execute("SELECT * FROM passage WHERE id = ?", (passage_id,)).fetchone()

        return JSONResponse([wire(await database.write(work))])

    @router.get("")
    async def list_passages(agent_id: str, page: Paged, search: str | None = None) -> Response:
        query, values = "SELECT t.* FROM passage t WHERE t.agent_id = ?", list[Any]([agent_id])
        if search:
            query += " AND instr(lower(t.text), lower(?))"
            values.append(search)

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            agents.get(connection, agent_id)
            return paging.select(connection, query, values, page, table="passage", order="asc", default_limit=100)

        return JSONResponse([wire(row) for row in await database.read(work)])

    @router.get("/search")
    async def search_passages(
        agent_id: str,
        query: str,
        tags: Annotated[list[str] | None, Query()] = None,
        tag_match_mode: Literal["any", "all"] = "any",
        top_k: Annotated[int, Query(ge=1, le=_MOST_HITS)] = 10,
        start_datetime: str | None = None,
        end_datetime: str | None = None,
    ) -> Response:
        start, end = (moment(text) if text else None for text in (start_datetime, end_datetime))
        wanted = Search(query, tuple(tags or ()), tag_match_mode == "all", start, end, top_k)

        def work(connection: sqlite3.Connection) -> list[sqlite3.Row]:
            agents.get(connection, agent_id)
            return search(connection, agent_id, wanted)

        hits = [
            {"id": row["id"], "timestamp": row["created_at"], "content": row["text"], "tags": json.loads(row["tags"])}
            for row in await database.read(work)
        ]
        return JSONResponse({"results": hits, "count": len(hits)})

    @router.delete("/{passage_id}")
    async def delete_passage(agent_id: str, passage_id: str) -> Response:
        def work(connection: sqlite3.Connection) -> None:
            gone = connection.execute("DELETE FROM passage WHERE id = ? AND agent_id = ?", (passage_id, agent_id))
            if not gone.rowcount:
                raise not_found("Passage", passage_id)

        await database.write(work)
        return JSONResponse(None)

    return router
