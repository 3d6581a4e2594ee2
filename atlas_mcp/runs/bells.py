"""How those who wait for a run hear at once what happens to it in this process, and in others that have the means."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import anyio

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


class Bells:
    """One bell a run, there only while somebody listens."""

    def __init__(self) -> None:
        self._listening: dict[str, set[anyio.Event]] = {}
        self.far: Callable[[str], None] | None = None
        """Rings in the other processes; it must not wait."""

    def ring(self, run_id: str) -> None:
        """Wake everybody who listens for the run; called after the change is stored."""
        self.ring_here(run_id)
        if self.far is not None:
            self.far(run_id)

    def ring_here(self, run_id: str) -> None:
        """Wake everybody in this process who listens for the run: the change was made in another."""
        for event in self._listening.get(run_id, ()):
            event.set()

    def ring_all(self) -> None:
        """Wake everybody who listens."""
        for run_id in self._listening:
            self.ring_here(run_id)

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
