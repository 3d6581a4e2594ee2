"""Notes that wait: feedback for a trace, or a run for its parent, that MLflow has not got yet.

They lie in one file of the spool, which only the carrier writes. Each is tried again when spans of its trace arrived,
and whenever a carrier begins; after a day, or when more wait than 8 MB, the oldest are given up.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = "later.notes"
PATIENCE_SECONDS: Final = 24 * 3_600.0

_MOST_CHARACTERS: Final = 8 << 20


class Late(NamedTuple):
    """A note that waits, since when in seconds since 1970, and its line in the spool."""

    since: float
    row: Mapping[str, Any]

    @property
    def trace(self) -> str | None:
        """The trace that it waits for."""
        return self.row["note"].get("trace_id")


class Later:
    """The notes of one spool that wait."""

    def __init__(self, spool: Path) -> None:
        self._file = spool / FILE
        self._notes = {_identity(late.row): late for late in _read(self._file)}
        self._saved = dict(self._notes)

    def __len__(self) -> int:
        return len(self._notes)

    def add(self, row: Mapping[str, Any]) -> None:
        """One more; what it says takes the place of what one with its key said that waits already."""
        waits = self._notes.get(_identity(row))
        self._notes[_identity(row)] = Late(waits.since if waits else time.time(), row)

    def drop(self, late: Late) -> None:
        """It waits no longer."""
        self._notes.pop(_identity(late.row), None)

    def due(self, traces: set[str] | None = None) -> list[Late]:
        """Those to be tried: all, or those that wait for one of these traces."""
        return [late for late in self._notes.values() if traces is None or late.trace in traces]

    def given_up(self) -> list[Late]:
        """Those that waited too long, or are too many; they wait no longer."""
        size, dropped, long_ago = 0, list[Late](), time.time() - PATIENCE_SECONDS
        for late in sorted(self._notes.values(), key=lambda late: late.since, reverse=True):
            size += len(json.dumps(late.row))
            if late.since < long_ago or size > _MOST_CHARACTERS:
                dropped.append(late)
        for late in dropped:
            self.drop(late)
        return dropped

    def save(self) -> None:
        """Keep them; a reader sees the old ones or the new ones."""
        if self._notes == self._saved:
            return
        draft = self._file.with_name(f"{FILE}.tmp")
        draft.touch(mode=0o600)
        draft.write_text("".join(f"{json.dumps({'since': s, **row})}\n" for s, row in self._notes.values()))
        draft.replace(self._file)
        self._saved = dict(self._notes)


def _identity(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("kind")), str(row["note"].get("key"))


def _read(file: Path) -> list[Late]:
    try:
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        return [Late(row.pop("since"), row) for row in rows]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError, AttributeError):
        file.unlink(missing_ok=True)  # a power cut: what it held waits no longer
        return []
