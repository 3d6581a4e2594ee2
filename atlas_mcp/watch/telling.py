"""Giving notes to MLflow, one after another, so that one that MLflow refuses holds up nothing."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from atlas_mcp.watch.answers import NotYet, Refused
from atlas_mcp.watch.later import Later
from atlas_mcp.watch.notes import read_note
from atlas_mcp.watch.payload import describe_error
from atlas_mcp.watch.sinks import Sink
from atlas_mcp.watch.spool import Batch

_log = logging.getLogger("atlas.ingest")


class Telling:
    """The notes of one spool on their way into MLflow's books; `told` and `refused` count those of this carrier."""

    def __init__(self, spool: Path, sink: Sink) -> None:
        self._spool = spool
        self._sink = sink
        self._later = Later(spool)
        self._begun = False
        self.told = 0
        self.refused = 0

    def tell(self, batches: Iterable[Batch]) -> None:
        """Tell the notes of these batches, whose spans MLflow has, and those that waited for them. Unreachable."""
        try:
            traces = {f"tr-{span.get('trace')}" for batch in batches for span in batch.spans}
            for row in (row for batch in batches for row in batch.notes):
                if not self._try(row):
                    self._later.add(row)
            for late in self._later.due(traces if self._begun else None):
                if self._try(late.row):
                    self._later.drop(late)
            self._begun = True
            for late in self._later.given_up():
                self._put_aside(late.row, "waited too long")
        finally:
            self._later.save()

    def _try(self, row: Mapping[str, Any]) -> bool:
        """Whether the note is done with."""
        try:
            self._sink.books.tell(read_note(row))
        except NotYet as reason:
            _log.info("a note waits: %s", reason)
            return False
        except (Refused, ValueError, KeyError, TypeError, AttributeError) as error:
            self._put_aside(row, describe_error(error))
            return True
        self.told += 1
        return True

    def _put_aside(self, row: Mapping[str, Any], reason: str) -> None:
        self.refused += 1
        _log.warning("a note of kind %s was put aside: %s", row.get("kind"), reason)
        folder = self._spool / "aside"
        folder.mkdir(mode=0o700, exist_ok=True)
        file = folder / f"{time.time_ns():020d}-note.json"
        file.touch(mode=0o600)
        file.write_text(f"{json.dumps(row)}\n")
