"""What the record knows of the Chroma that is fed from it: a row of `derived`."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from atlas_mcp.store.memory_tables import derived

if TYPE_CHECKING:
    from atlas_mcp.store.record import Record

NAME = "chroma"


@dataclass(frozen=True, slots=True)
class State:
    """Which record this is, which Chroma is fed from it, and whether that one has all vectors.

    Several records may share a server: each has collections of its own there, whose names end with its `suffix`.
    """

    record: str
    place: str
    whole: bool

    @property
    def suffix(self) -> str:
        """The end of the names of its collections on a server."""
        return f"-{self.record}"


async def read_state(record: Record) -> State:
    """The row, made if need be."""
    async with record.look() as db:
        kept = (await db.execute(select(derived.c.state).where(derived.c.name == NAME))).scalar_one_or_none()
    if kept is None:
        async with record.write(NAME) as db:
            # Another machine may have made it meanwhile.
            kept = (await db.execute(select(derived.c.state).where(derived.c.name == NAME))).scalar_one_or_none()
            if kept is None:
                kept = {"record": uuid.uuid4().hex[:8], "place": "", "whole": False}
                await db.execute(insert(derived).values(name=NAME, state=kept, at=datetime.now(UTC)))
    return _state(kept)


async def write_state(record: Record, place: str, *, whole: bool) -> None:
    """Note which Chroma is fed, and whether it has all vectors."""
    state = await read_state(record)
    kept = {"record": state.record, "place": place, "whole": whole}
    async with record.write(NAME) as db:
        await db.execute(update(derived).where(derived.c.name == NAME).values(state=kept, at=datetime.now(UTC)))


def _state(kept: Any) -> State:
    return State(kept["record"], kept["place"], kept["whole"])
