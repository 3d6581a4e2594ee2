"""One way out of the process that serves: a spool, and the carrier that empties it.

There is one to MLflow, and one to a collector where the settings name one. Each has its own bound and its own carrier,
so that neither end holds up the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from atlas_mcp.watch.sidecar import End, Sidecar
from atlas_mcp.watch.spool import SpoolWriter

_NOTE: Final = '{"note":'


class Way:
    """Used by the spool's thread only. `lost` counts what this way did not take."""

    def __init__(self, home: Path, end: End, spool_bytes: int) -> None:
        self._writer = SpoolWriter(home / end.folder, spool_bytes)
        self._spans_only = end.kind == "otlp"
        self.sidecar = Sidecar(home, end)
        self.lost = 0

    def write(self, resource: Mapping[str, Any], lines: Sequence[str]) -> str:
        """Put the lines into the spool; why they were lost, or empty."""
        if self._spans_only:
            lines = [line for line in lines if not line.startswith(_NOTE)]
        if not lines:
            return ""
        try:
            reason = "" if self._writer.write(resource, lines) else "the spool is full: see logs/ingest.log"
        except Exception as error:  # noqa: BLE001 - a full disk costs traces, never the process
            reason = f"{type(error).__name__}: {error}"
        if reason:
            self.lost += len(lines)
        else:
            self.sidecar.expect()
        return reason
