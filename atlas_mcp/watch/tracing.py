"""Tracing in the process that serves: spans go to the spool on disk, and nowhere else.

Promise: tracing never slows, breaks or hangs a call or the exit. A finished span costs its caller some microseconds: it
becomes a line of text and is queued (text, since thousands of waiting span objects would cost every call its share of
garbage collection); one daemon thread of our own puts the lines into spool files. There is no network here and no
MLflow: another process (see `sidecar`) carries the spool to where traces are kept, and this one only starts it, some
seconds after the last call.

Loss, and what of it is counted: a kill -9 loses at most the spans of the last quarter of a second that had not been
written (uncounted; a span that never ended was never there). When the queue (64 MB) or the spool is full, or the disk
refuses, spans are lost, counted in `Tracing.counts` and said in the log once a minute. An orderly end writes what is
queued, for at most two seconds, which only a disk that hangs takes. With a collector besides MLflow there is a second
spool, with its own bound and count.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from atlas_mcp.watch._provider import Ended, join_provider
from atlas_mcp.watch._way import Way
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.lines import to_line
from atlas_mcp.watch.notes import taken_by

__all__ = ["Counts", "Destination", "Tracing", "open_tracing"]

SPOOL_BYTES: Final = 256 << 20
"""How much may wait on disk in one home."""

_QUEUE_CHARACTERS: Final = 64 << 20
_GATHER_SECONDS: Final = 0.25
_FILE_SPANS: Final = 1_000
_FILE_CHARACTERS: Final = 4 << 20
_FLUSH_SECONDS: Final = 0.5
_CLOSE_SECONDS: Final = 2.0
_WARN_SECONDS: Final = 60.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Counts:
    """What became of this process's spans: those on disk (or beyond), those lost, and those still in memory.

    `lost_besides` are those that the collector besides MLflow will not get.
    """

    written: int
    lost: int
    queued: int
    lost_besides: int = 0


@contextmanager
def open_tracing(
    home: Path, *, destination: Destination | None = None, spool_bytes: int = SPOOL_BYTES
) -> Generator[Tracing]:
    """Record the spans of this process in `home`'s spool while the body runs, and see that they reach `destination`.

    Opened within another (an embedding program's second home), it takes the spans until it is closed. Raises
    ConfigurationError for a destination that cannot take traces; everything else that fails costs traces only.
    """
    destination = destination or Destination()
    tracing = Tracing(home, destination, spool_bytes)
    with join_provider(tracing.take) as resource, taken_by(tracing.queue):
        tracing.begin(resource)
        try:
            yield tracing
        finally:
            tracing.close()


class Tracing:
    """The queue of one process and the thread that empties it."""

    def __init__(self, home: Path, destination: Destination, spool_bytes: int) -> None:
        self.home = home
        self.destination = destination
        self._way = Way(home, destination, spool_bytes)
        self._besides = Way(home, destination.besides, spool_bytes) if destination.besides else None
        self._ways = [way for way in (self._way, self._besides) if way]
        self._queue: deque[str] = deque()
        self._characters = 0
        self._count = threading.Lock()  # held for an addition only
        self._written = 0
        self._before = 0  # lost before they were on any way
        self._warned_at = -_WARN_SECONDS
        self._resource: Mapping[str, Any] = {}
        self._news = threading.Event()
        self._closing = threading.Event()
        self._idle = threading.Event()
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name="atlas-spool", daemon=True)

    @property
    def counts(self) -> Counts:
        """What became of the spans so far."""
        besides = self._before + self._besides.lost if self._besides else 0
        return Counts(self._written, self._before + self._way.lost, len(self._queue), besides)

    def flush(self, seconds: float = _FLUSH_SECONDS) -> bool:
        """Wait until what ended before this call is on disk or counted as lost; False if that took too long."""
        if not self._thread.is_alive():
            return not self._queue
        self._idle.clear()
        self._news.set()
        return self._idle.wait(seconds)

    def take(self, span: Ended) -> None:
        """Queue a finished span. Called by OpenTelemetry in the caller's thread: never waits for the disk."""
        try:
            line = to_line(span)
        except Exception as error:  # noqa: BLE001 - one odd span must cost nobody but itself
            self._lose(1, f"a span could not be written down: {type(error).__name__}")
            return
        self.queue(line)

    def queue(self, line: str) -> None:
        """Queue a line for the spool: a span, or a note. Never waits for the disk, in whatever thread."""
        with self._count:
            full = self._characters + len(line) > _QUEUE_CHARACTERS
            if not full:
                self._characters += len(line)
                self._queue.append(line)
        if full:
            self._lose(1, "spans come faster than the disk takes them")
        if not self._news.is_set():
            self._news.set()

    def begin(self, resource: Mapping[str, Any]) -> None:
        """Start the thread."""
        self._resource = resource
        self._thread.start()

    def close(self) -> None:
        """Write what is queued, for at most two seconds, and end the thread."""
        self._closing.set()
        self._news.set()
        self._thread.join(_CLOSE_SECONDS)
        if self._queue:
            _log.warning("%d spans were still unwritten at the end and are lost", len(self._queue))

    def _run(self) -> None:
        while not self._closing.is_set():
            self._news.wait(self._pause())
            if self._news.is_set():
                self._closing.wait(0 if not self._idle.is_set() else _GATHER_SECONDS)
                self._news.clear()
                self._drain()
            for way in self._ways:
                self._guarded(way.sidecar.attend)
        self._drain()
        for way in self._ways:
            self._guarded(way.sidecar.leave)

    def _pause(self) -> float | None:
        pauses = [pause for way in self._ways if (pause := way.sidecar.pause()) is not None]
        return min(pauses, default=None)

    def _drain(self) -> None:
        waited_for = not self._idle.is_set()
        due = len(self._queue)  # what comes meanwhile waits for the next round, or files would be of one span each
        while due > 0:
            lines = self._next_lines()
            due -= len(lines)
            self._write(lines)
        if waited_for:
            self._idle.set()

    def _next_lines(self) -> list[str]:
        lines: list[str] = []
        size = 0
        while self._queue and len(lines) < _FILE_SPANS and size < _FILE_CHARACTERS:
            line = self._queue.popleft()
            size += len(line)
            lines.append(line)
        with self._count:
            self._characters -= size
        return lines

    def _write(self, lines: list[str]) -> None:
        for way in self._ways:
            reason = way.write(self._resource, lines)
            if reason:
                self._warn(reason)
            elif way is self._way:
                self._written += len(lines)

    def _guarded(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 - a missing program costs traces, never the process
            self._warn(f"{type(error).__name__}: {error}")

    def _lose(self, spans: int, reason: str) -> None:
        with self._count:
            self._before += spans
        self._warn(reason)

    def _warn(self, reason: str) -> None:
        now = time.monotonic()
        if now - self._warned_at > _WARN_SECONDS:
            self._warned_at = now
            with contextlib.suppress(Exception):
                counts = self.counts
                _log.warning("tracing: %s (spans lost so far: %d)", reason, max(counts.lost, counts.lost_besides))
