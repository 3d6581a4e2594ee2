"""What is remembered as a package carries it: rows of memories, facts and summaries, as their tables have them.

Promise: what is written is read again as it was, and nothing else is: a row that does not fit its table is refused.
What expires within the hour, was refused or was taken back stays at home.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, cast

from pydantic import AwareDatetime, BaseModel, Field, create_model, field_validator
from sqlalchemy import JSON, Boolean, Float, Integer, insert, select

from atlas_mcp.memory.memory_rows import as_compared, living
from atlas_mcp.model._base import Frozen
from atlas_mcp.store.columns import Utc
from atlas_mcp.store.memory_tables import entity, fact, memory, memory_revision, summary

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Table
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.constellation.portable_entries import LearningEntry
    from atlas_mcp.model.caller import Caller

CARRIED: dict[str, Table] = {table.name: table for table in (memory, memory_revision, summary, entity, fact)}
_NAMES = frozenset(
    {"id", "memory", "superseded_by", "run_id", "turn_id", "subject", "object", "merged_into", "covers", "sources"}
)
"""Columns that hold ids, or lists of them."""
_KINDS = {"fact": "long_term"}
_LATER = "procedural"


class Remembered(Frozen):
    """Rows by the name of their table, without their caller."""

    rows: dict[str, tuple[dict[str, Any], ...]] = Field(default_factory=dict)

    @field_validator("rows")
    @classmethod
    def _fit(cls, rows: dict[str, tuple[dict[str, Any], ...]]) -> dict[str, tuple[dict[str, Any], ...]]:
        if unknown := sorted(set(rows) - set(CARRIED)):
            raise ValueError(f"nothing is remembered as {unknown[0]!r}")
        read = {
            name: tuple(_shape(name).model_validate(row).model_dump() for row in some) for name, some in rows.items()
        }
        for name, some in read.items():
            keys = [column.name for column in CARRIED[name].primary_key]
            if len({tuple(row[key] for key in keys) for row in some}) < len(some):
                raise ValueError(f"there are two of one {' and '.join(keys)} in {name!r}")
        return read

    def ids(self, name: str) -> list[str]:
        """The ids of the rows of that table."""
        return list(dict.fromkeys(row["id"] for row in self.rows.get(name, ())))


async def collect(db: AsyncConnection, caller: Caller) -> Remembered:
    """All that the caller's constellation remembers in the record, in a certain order."""
    kept = (memory.c.kind != "working", memory.c.reason == "", living())
    mine = select(memory.c.id).where(memory.c.caller == caller.id, *kept)
    narrowed: dict[str, tuple[ColumnElement[bool], ...]] = {
        memory.name: kept,
        memory_revision.name: (memory_revision.c.memory.in_(mine),),
    }
    found: dict[str, tuple[dict[str, Any], ...]] = {}
    for name, table in CARRIED.items():
        wanted = select(table).where(table.c.caller == caller.id, *narrowed.get(name, ()))
        rows = await db.execute(wanted.order_by(*table.primary_key))
        found[name] = tuple({k: v for k, v in row._mapping.items() if k != "caller"} for row in rows)  # pyright: ignore[reportPrivateUsage]  # SQLAlchemy's own public name
    return Remembered(rows={name: rows for name, rows in found.items() if rows})


async def put(db: AsyncConnection, caller: Caller, given: Remembered, ids: Mapping[str, str]) -> None:
    """Write the rows for this caller, every id as `ids` has it."""
    for name, table in CARRIED.items():
        values = [
            {key: _renamed(value, ids) if key in _NAMES else value for key, value in row.items()}
            | {"caller": caller.id}
            for row in given.rows.get(name, ())
        ]
        if values:
            await db.execute(insert(table), values)


def of_learnings(learned: Sequence[LearningEntry]) -> Remembered:
    """What an older package has as learnings."""
    rows: list[dict[str, Any]] = []
    past: list[dict[str, Any]] = []
    for one in learned:
        row = one.model_dump(exclude={"audience", "agent", "at"}) | {
            "kind": _KINDS.get(one.kind, _LATER),
            "scope": "all",
            "author": f"agent:{one.agent}",
            "sha256": as_compared(one.text),
            "revision": 1,
            "reason": "",
            "created_at": one.at,
            "updated_at": one.at,
        }
        rows.append(row)
        same = {name: row[name] for name in ("text", "source", "quote", "trust", "author", "run_id")}
        past.append(same | {"memory": one.id, "number": 1, "operation": "created", "at": one.at})
    return Remembered(rows={memory.name: tuple(rows), memory_revision.name: tuple(past)} if rows else {})


def _renamed(value: Any, ids: Mapping[str, str]) -> Any:
    if isinstance(value, str):
        return ids.get(value, value)
    if isinstance(value, list):
        return [_renamed(one, ids) for one in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {key: _renamed(one, ids) for key, one in cast("dict[str, Any]", value).items()}
    return value


@cache
def _shape(name: str) -> type[BaseModel]:
    """What a row of that table has: its columns, those that may be empty with nothing as their default."""
    fields: dict[str, Any] = {}
    for column in CARRIED[name].columns:
        if column.name != "caller":
            kind = _type_of(column)
            fields[column.name] = (kind | None, None) if column.nullable else (kind, ...)
    return create_model(f"{name}_row", __base__=Frozen, **fields)


def _type_of(column: Column[Any]) -> Any:
    if isinstance(column.type, JSON):
        return list[Any] | dict[str, Any]
    kinds = {Utc: AwareDatetime, Boolean: bool, Integer: int, Float: float}
    return next((made for kind, made in kinds.items() if isinstance(column.type, kind)), str)
