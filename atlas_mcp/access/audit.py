"""The audit log on its way into the record, in the order in which things were asked for.

Promise: `keep` returns when its entry is in the record; entries given together share one transaction. What is only
noted follows within FLUSH_SECONDS, so that a process which is killed loses that much of it and no more. A record that
cannot be written costs no call: entries wait in memory, MOST of them, the rest is counted; `problem` says so meanwhile,
and once it can be written again an entry tells how many are missing.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.model.audited import Audited

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Write = Callable[[Sequence[Audited]], Awaitable[None]]

FLUSH_SECONDS = 1.0
RETRY_SECONDS = 5.0
WRITE_SECONDS = 6.0
"""A write that takes longer is given up and tried again; it is less than a process has for closing."""
MOST = 10_000
_COUNTED_SECONDS = 60.0
_log = logging.getLogger(__name__)


class AuditLog:
    """What waits to be written; `write` puts entries into the record, all or none."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._waiting: list[Audited] = []
        self._some, self._urgent, self._written = anyio.Event(), anyio.Event(), anyio.Event()
        self._writing = anyio.Lock()
        self._refused: Counter[int] = Counter()
        self._counted_since = 0.0
        self._missing = 0
        self._ended = False
        self.lost = 0
        self.problem: str | None = None

    @property
    def waiting(self) -> int:
        """How many entries are not in the record yet."""
        return len(self._waiting)

    def note(self, entry: Audited) -> None:
        """Have the entry written soon."""
        if len(self._waiting) >= MOST:
            self._missing += 1
            self.lost += 1
            return
        self._waiting.append(entry)
        self._some.set()

    async def keep(self, entry: Audited) -> None:
        """Return when the entry is in the record; at once where that fails just now, and it is tried again later."""
        self.note(entry)
        if self.problem is None and not self._ended:
            written = self._written
            self._urgent.set()
            await written.wait()

    def refused(self, status: int, address: str) -> None:
        """Note that somebody was not let in. Of a flood the first is told, and how many came in the minute after."""
        now = anyio.current_time()
        if self._refused and now - self._counted_since < _COUNTED_SECONDS:
            self._refused[status] += 1
            self._some.set()
            return
        self._tell_refused()
        self._refused[status], self._counted_since = 0, now
        self.note(_refusal(status, address, ""))

    async def write_on(self) -> None:
        """Write what comes until cancelled; then what is left."""
        try:
            while True:
                with anyio.move_on_after(self._until_told()):
                    await self._some.wait()
                with anyio.move_on_after(RETRY_SECONDS if self.problem else FLUSH_SECONDS):
                    await self._urgent.wait()
                if not self._until_told():
                    self._tell_refused()
                await self.flush()
        finally:
            self._ended = True
            self._tell_refused()
            await self.flush()

    async def flush(self) -> None:
        """Write all that waits, if it can be written. Nothing is raised, and a cancellation waits until it is over."""
        with anyio.CancelScope(shield=True):
            async with self._writing:
                entries, written = self._waiting, self._written
                self._waiting = []
                self._some, self._urgent, self._written = anyio.Event(), anyio.Event(), anyio.Event()
                try:
                    if entries:
                        await self._put(entries)
                finally:
                    written.set()

    async def _put(self, entries: list[Audited]) -> None:
        missing = self._missing
        more = [_missed(missing)] if missing else []
        try:
            with anyio.fail_after(WRITE_SECONDS):
                await self._write([*entries, *more])
        except Exception as error:  # noqa: BLE001 - whatever it is, no call may be lost for it
            self._failed(entries, error)
            return
        self._missing -= missing
        if self.problem is not None:
            self.problem = None
            _log.warning("the audit log is written again; %d entries are missing in it", missing)

    def _failed(self, entries: list[Audited], error: Exception) -> None:
        if self.problem is None:
            _log.error("the audit log cannot be written, and entries wait: %s", str(error) or type(error).__name__)
        self.problem = str(error) or type(error).__name__
        kept = (entries + self._waiting)[:MOST]
        dropped = len(entries) + len(self._waiting) - len(kept)
        self._missing += dropped
        self.lost += dropped
        self._waiting = kept
        self._some.set()

    def _until_told(self) -> float:
        """Seconds until it is told how many more were refused."""
        if not self._refused.total():
            return math.inf
        return max(0.0, self._counted_since + _COUNTED_SECONDS - anyio.current_time())

    def _tell_refused(self) -> None:
        for status, more in self._refused.items():
            if more:
                self.note(_refusal(status, "", f"{more:,} more within a minute"))
        self._refused.clear()


def _refusal(status: int, address: str, detail: str) -> Audited:
    return _now(action=f"http {status}", via="http", address=address, detail=detail)


def _missed(entries: int) -> Audited:
    return _now(action="audit", via="", detail=f"{entries:,} entries before this one could not be kept").model_copy(
        update={"outcome": "failed"}
    )


def _now(*, action: str, via: str, address: str = "", detail: str) -> Audited:
    at = datetime.now(UTC)
    return Audited(at=at, caller="", via=via, address=address, action=action, outcome="refused", detail=detail)
