"""Those who wait for a run where it is executed, and take its outcome from hand to hand.

Promise: an outcome is either kept in the record or handed to somebody who is there to take it; never neither. Whoever
lists runs after having taken one does not see it any more.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Generator

    from atlas_mcp.runs.outcome import RunOutcome


class Attendance:
    """Somebody waits for the run; `over` is set when its attempt has ended, well or not.

    `error` is why it was refused before anything of it was stored.
    """

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.outcome: RunOutcome | None = None
        self.error: BaseException | None = None
        self.trace_id: str | None = None
        self.promised = False
        self._patience = anyio.CancelScope()

    async def wait(self, seconds: float) -> None:
        """Return when the attempt is over or the time is; what is handed over within it is in `outcome` then."""
        self._patience.deadline = anyio.current_time() + seconds
        with self._patience:
            await self.over.wait()
        await self.kept()

    async def kept(self) -> None:
        """Return when no outcome is promised that was not handed over: it will be nowhere else. To be awaited last of
        all before leaving."""
        if self.promised:
            await self.over.wait()

    def let_go(self) -> None:
        """Wait no longer."""
        self._patience.cancel()


class Attendances:
    """Who attends which run of this process."""

    def __init__(self) -> None:
        self._present: dict[str, Attendance] = {}
        self._handed: dict[str, anyio.Event] = {}

    @contextmanager
    def of(self, run_id: str, attendance: Attendance) -> Generator[None]:
        """Attend the run while the body runs."""
        self._present[run_id] = attendance
        try:
            yield
        finally:
            del self._present[run_id]

    def promise(self, run_id: str) -> bool:
        """Whether the outcome of the run is not to be kept: it was handed over, or somebody is there to take it, who
        will wait until it is `over`."""
        if attendance := self._present.get(run_id):
            attendance.promised = True
        return attendance is not None or run_id in self._handed

    def hand(self, run_id: str, outcome: RunOutcome, trace_id: str | None) -> None:
        """Hand the outcome to whoever attends the run now, if anybody does."""
        attendance = self._present.get(run_id)
        if attendance is not None and not attendance.over.is_set():
            attendance.outcome, attendance.trace_id = outcome, trace_id
            self._handed.setdefault(run_id, anyio.Event())
            attendance.over.set()

    def refuse(self, run_id: str, error: BaseException) -> None:
        """Tell whoever attends the run why nothing was begun."""
        if attendance := self._present.get(run_id):
            attendance.error = error

    def over(self, run_id: str) -> None:
        """Tell whoever attends the run that its attempt has ended, and those who wait until it is gone."""
        if attendance := self._present.get(run_id):
            attendance.over.set()
        if handed := self._handed.pop(run_id, None):
            handed.set()

    def let_go(self) -> None:
        """Let nobody who attends a run wait any longer."""
        for attendance in self._present.values():
            attendance.let_go()

    async def gone(self) -> None:
        """Return when every run that was handed over is gone from the record."""
        for handed in [*self._handed.values()]:
            await handed.wait()
