"""What an executor has in its hands while it does a run.

Every write is a transaction of its own and goes through only while the run is this process's: after that it raises
RunLost, and the executor is cancelled. What was written before stays.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, select, update

from atlas_mcp.errors import RunLost
from atlas_mcp.model.run import Event, Progress
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs import rows
from atlas_mcp.runs.journal import Entry
from atlas_mcp.store import tables

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.plan import Plan
    from atlas_mcp.model.result import Result
    from atlas_mcp.store.record import Record

_ARTIFACT = tables.artifact


class RunContext:
    """One attempt at one run.

    `resumed` tells that an earlier attempt had begun, `attempt` counts those whose process died, from 1.
    """

    def __init__(
        self,
        run_id: str,
        caller: Caller,
        input: dict[str, Any],
        *,
        resumed: bool,
        attempt: int,
        executor: str,
        record: Record,
        news: Callable[[], None],
        lost: Callable[[], None],
    ) -> None:
        self.run_id = run_id
        self.caller = caller
        self.input = input
        self.resumed = resumed
        self.attempt = attempt
        self._executor = executor
        self._record = record
        self._news = news
        self._lost = lost

    async def emit(
        self, actor: str, type: str, text: str, *, turn_id: str | None = None, key: str | None = None, **data: Any
    ) -> Event:
        """Add an event to the journal. `data` is plain JSON. The same `key` is written once in a run, also by a later
        attempt; the event that stands is given."""
        entry = Entry(actor, type, text, turn_id, data, key)
        event, new = await self._write(lambda c: rows.emit(c, self.run_id, self._executor, entry))
        if new:
            self._news()
        return event

    async def set_plan(self, plan: Plan) -> None:
        """Show the plan to those who follow the run."""
        await self._set(plan=plan.model_dump(mode="json"))

    async def set_progress(self, done: int, total: int, text: str) -> None:
        """Say how far the run is: turns done of those known so far, and what is going on in words."""
        await self._set(progress=Progress(done=done, total=total, text=text).model_dump())

    async def set_trace_id(self, trace_id: str) -> None:
        """Say which trace shows this attempt."""
        await self._set(trace_id=trace_id)

    async def set_result(self, result: Result) -> None:
        """Keep the best there is so far: what callers get if the run is cancelled or fails."""
        await self._set(also_after_end=True, result=result.model_dump(mode="json"))

    async def add_usage(self, usage: Usage, *, key: str | None = None) -> None:
        """Add to what the run has cost. The same `key` (the turn's id) counts once, also in a later attempt."""
        await self._write(lambda c: self._spend(c, usage, key))

    async def save(self, name: str, text: str) -> None:
        """Keep a text under that name, instead of the one it had."""
        await self._write(lambda c: self._save(c, name, text))

    async def load(self, name: str) -> str | None:
        """The text kept under that name, also by an earlier attempt; None if there is none."""
        query = select(_ARTIFACT.c.text).where(_ARTIFACT.c.run_id == self.run_id, _ARTIFACT.c.name == name)
        async with self._record.read() as connection:
            return (await connection.execute(query)).scalar_one_or_none()

    async def _set(self, *, also_after_end: bool = False, **values: Any) -> None:
        await self._write(lambda c: rows.write(c, self.run_id, self._executor, also_after_end=also_after_end, **values))

    async def _spend(self, connection: AsyncConnection, usage: Usage, key: str | None) -> None:
        # The mark of a turn that was counted is an artifact: it is in the same transaction as the sum.
        mark = f"usage:{key}"
        if key is not None and await self._known(connection, mark):
            return
        row = await rows.find(connection, self.run_id)
        total = Usage.model_validate(row.usage) + usage
        await rows.write(connection, self.run_id, self._executor, also_after_end=True, usage=total.model_dump())
        if key is not None:
            await self._save(connection, mark, usage.model_dump_json())

    async def _known(self, connection: AsyncConnection, name: str) -> bool:
        query = select(_ARTIFACT.c.id).where(_ARTIFACT.c.run_id == self.run_id, _ARTIFACT.c.name == name)
        return (await connection.execute(query)).first() is not None

    async def _save(self, connection: AsyncConnection, name: str, text: str) -> None:
        await rows.write(connection, self.run_id, self._executor, also_after_end=True)
        there = await connection.execute(
            update(_ARTIFACT).where(_ARTIFACT.c.run_id == self.run_id, _ARTIFACT.c.name == name).values(text=text)
        )
        if not there.rowcount:
            values = {"id": uuid.uuid4().hex, "run_id": self.run_id, "name": name, "text": text}
            await connection.execute(insert(_ARTIFACT).values(created_at=datetime.now(UTC), **values))

    async def _write(self, work: Callable[[AsyncConnection], Awaitable[Any]]) -> Any:
        try:
            async with self._record.write() as connection:
                return await work(connection)
        except RunLost:
            self._lost()
            raise
