"""What the carrying of traces has to say about itself, kept in the spool for `get_status` and for the next attempt."""

from __future__ import annotations

import os
import time
from pathlib import Path

from pydantic import ValidationError

from atlas_mcp.model._base import Tolerant
from atlas_mcp.watch.spool import waiting

_FILE = "ingest.json"
_FIRST_PAUSE = 15.0
_LONGEST_PAUSE = 600.0
_MOST_ASKED = 3_600.0


class IngestState(Tolerant):
    """How the carrying stands. Times are seconds since 1970.

    `spans` and `notes` arrived in all; `refused` spans and `refused_notes` were taken by nobody and `broken` files were
    unreadable: all lie in the spool's folder `aside`. While `error` is set nothing arrives, and nobody tries before
    `retry_at`.
    """

    experiment_id: str | None = None
    spans: int = 0
    notes: int = 0
    refused: int = 0
    refused_notes: int = 0
    broken: int = 0
    error: str | None = None
    failures: int = 0
    retry_at: float = 0.0
    at: float = 0.0
    pruned_at: float = 0.0

    def failed(self, error: str, *, at_least: float = 0.0) -> IngestState:
        """After a failed attempt; each one makes the pause before the next twice as long, up to ten minutes.

        `at_least`: the seconds that the other side asked for, of which an hour is granted.
        """
        pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2 ** min(self.failures, 10))
        pause = max(pause, min(at_least, _MOST_ASKED))
        now = time.time()
        news = {"error": error, "failures": self.failures + 1, "retry_at": now + pause, "at": now}
        return self.model_copy(update=news)

    def arrived(
        self, spans: int = 0, *, notes: int = 0, refused: int = 0, refused_notes: int = 0, broken: int = 0
    ) -> IngestState:
        """After something was carried, or put aside."""
        news = {
            "spans": self.spans + spans,
            "notes": self.notes + notes,
            "refused": self.refused + refused,
            "refused_notes": self.refused_notes + refused_notes,
            "broken": self.broken + broken,
            "error": None,
            "failures": 0,
            "retry_at": 0.0,
            "at": time.time(),
        }
        return self.model_copy(update=news)


class TracingHealth(Tolerant):
    """What a person needs to know: how much waits in the spool, and how the carrying stands."""

    waiting_files: int
    waiting_bytes: int
    ingest: IngestState


def load_state(spool: Path) -> IngestState:
    """The state as last saved; a new one when there is none, or it cannot be read."""
    try:
        return IngestState.model_validate_json((spool / _FILE).read_bytes())
    except (OSError, ValidationError):
        return IngestState()


def save_state(spool: Path, state: IngestState) -> None:
    """Keep the state; a reader sees the old one or the new one."""
    draft = spool / f"{_FILE}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(state.model_dump_json())
    draft.replace(spool / _FILE)


def tracing_health(home: Path, folder: str = "spool") -> TracingHealth:
    """How tracing stands in this home, over all its processes, on one of its ways."""
    files, ingest = waiting(home / folder), load_state(home / folder)
    return TracingHealth(waiting_files=len(files), waiting_bytes=sum(f.size for f in files), ingest=ingest)
