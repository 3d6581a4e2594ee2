"""The pen of an attempt: its changes on their way into the record, in order, several in one transaction.

What is written is stored when `write` returns; what is told is stored with the next change, at the latest TELL_SECONDS
later, and nobody waits for it. Changes that come while a transaction is under way go into the next one together: the
workers of a team do not queue for one each. What was told and could not be stored is tried again with the next change,
and what could not be stored in the end is raised by `flush`.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from atlas_mcp.errors import RunLost
from atlas_mcp.runs.changes import AFTER_THE_END, Entry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.model.run import Event
    from atlas_mcp.runs.changes import Change
    from atlas_mcp.runs.steps import Step

TELL_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class _Awaited:
    """Changes that somebody waits for, and what had been told before them."""

    told: list[Change]
    own: tuple[Change, ...]
    stored: asyncio.Future[list[Event]]


class Pen:
    """Writes for the run by `take`, which makes several changes or none."""

    def __init__(self, run_id: str, take: Callable[[Sequence[Change]], Awaitable[Step]]) -> None:
        self._run_id = run_id
        self._take = take
        self._told: list[Change] = []
        self._awaited: list[_Awaited] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def tell(self, *changes: Change) -> None:
        """Write these soon."""
        self._told += changes
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(TELL_SECONDS, self._begin)

    async def write(self, *changes: Change) -> list[Event]:
        """Write these after all that was told, and give the events of their entries, in order.

        Raises what kept them from being stored. They are stored also if the caller is cancelled meanwhile.
        """
        if not (changes or self._told or self._awaited or self._writing):
            return []
        stored: asyncio.Future[list[Event]] = asyncio.get_running_loop().create_future()
        told, self._told = self._told, []
        self._awaited.append(_Awaited(told, changes, stored))
        self._begin()
        return await stored

    async def flush(self) -> None:
        """Return when all is stored; raises what keeps it from being."""
        await self.write()

    def _begin(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._writing is None:
            # A task of its own: the transaction of several must not end with the cancellation of one of them.
            self._writing = asyncio.create_task(self._write_all())

    async def _write_all(self) -> None:
        try:
            while self._awaited or self._told:
                awaited, self._awaited = self._awaited, []
                told, self._told = self._told, []
                changes = [c for each in awaited for c in (*each.told, *each.own)] + told
                if not changes:  # somebody waited for what is stored by now
                    for each in awaited:
                        _end(each.stored, [])
                    continue
                try:
                    step = await self._take(changes)
                except Exception as error:  # noqa: BLE001  given to everybody who waits
                    for each in awaited:
                        _end(each.stored, error)
                    self._keep([*(c for each in awaited for c in each.told), *told])
                    if not self._awaited:
                        return
                else:
                    self._give(awaited, step)
        finally:
            self._writing = None

    def _keep(self, told: list[Change]) -> None:
        """Try what was told again before whatever comes next."""
        following = self._awaited[0].told if self._awaited else self._told
        following[:0] = told

    def _give(self, awaited: list[_Awaited], step: Step) -> None:
        events = iter(step.events)
        for each in awaited:
            if step.late and not all(isinstance(c, AFTER_THE_END) for c in each.own):
                _end(each.stored, RunLost(self._run_id))
            else:
                told = _entries(each.told)
                _end(each.stored, [*islice(events, told + _entries(each.own))][told:])


def _entries(changes: Sequence[Change]) -> int:
    return sum(isinstance(change, Entry) for change in changes)


def _end(stored: asyncio.Future[list[Event]], outcome: list[Event] | Exception) -> None:
    if stored.done():
        return  # whoever waited was cancelled
    if isinstance(outcome, Exception):
        stored.set_exception(outcome)
    else:
        stored.set_result(outcome)
