"""How those who wait for a run hear at once what happens to it in this process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Generator


class Bells:
    """One bell a run, there only while somebody listens."""

    def __init__(self) -> None:
        self._listening: dict[str, set[anyio.Event]] = {}

    def ring(self, run_id: str) -> None:
        """Wake everybody who listens for the run; called after the change is stored."""
        for event in self._listening.get(run_id, ()):
            event.set()

    def ring_all(self) -> None:
        """Wake everybody who listens."""
        for run_id in self._listening:
            self.ring(run_id)

    @contextmanager
    def listen(self, run_id: str) -> Generator[anyio.Event]:
        """An event that is set by the next ring. Listen first and look at the run then, and nothing is missed."""
        event = anyio.Event()
        listeners = self._listening.setdefault(run_id, set())
        listeners.add(event)
        try:
            yield event
        finally:
            listeners.discard(event)
            if not listeners:
                self._listening.pop(run_id, None)
