"""Those who wait for a run where it is executed, and take its outcome from hand to hand.

Promise: an outcome is either kept in the record or handed to somebody who is there to take it; never neither.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Generator

    from atlas_mcp.runs.outcome import RunOutcome


class Attendance:
    """Somebody waits for the run; `over` is set when its attempt has ended, well or not."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.outcome: RunOutcome | None = None
        self.trace_id: str | None = None
        self.promised = False

    async def wait(self, seconds: float) -> None:
        """Return when the attempt is over or the time is; what is handed over within it is in `outcome` then."""
        with anyio.move_on_after(seconds):
            await self.over.wait()
        if self.promised:  # it is just being handed over, and will be nowhere else
            await self.over.wait()


class Attendances:
    """Who attends which run of this process."""

    def __init__(self) -> None:
        self._present: dict[str, Attendance] = {}

    @contextmanager
    def of(self, run_id: str) -> Generator[Attendance]:
        """Attend the run while the body runs."""
        attendance = self._present[run_id] = Attendance()
        try:
            yield attendance
        finally:
            del self._present[run_id]

    def promise(self, run_id: str) -> Attendance | None:
        """Whoever attends the run now, who will wait until `over`; None if nobody does."""
        attendance = self._present.get(run_id)
        if attendance is not None:
            attendance.promised = True
        return attendance

    def over(self, run_id: str) -> None:
        """Tell whoever attends the run that its attempt has ended."""
        if attendance := self._present.get(run_id):
            attendance.over.set()
