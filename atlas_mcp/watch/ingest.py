"""The carrier: takes traces and notes from the spool to MLflow, and ends when there is nothing left to do.

    python -m atlas_mcp.watch.ingest HOME [--tracking-uri URI] [--experiment NAME] [--once]

One works on a home at a time (a file lock, freed by the system when it dies); a second one ends at once. Files are
removed from the spool only after MLflow has them, and MLflow keeps one span for each id and one of each note, so one
that is killed loses and doubles nothing. A file that cannot be read, or that MLflow refuses, is put into the spool's
folder `aside`, counted, and holds up nothing; so is a note, but one whose trace is not there yet waits for it (see
`later`). When MLflow cannot be reached it says so in the spool, and ends; the next one comes after a pause.

Standard output stays empty. The exit code is 0 when nothing waits any more or another one works, 1 when MLflow could
not be reached, 2 for arguments that cannot be used.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO, cast

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.answers import PartlyRefused, Refused, Unreachable
from atlas_mcp.watch.collector import Collector, read_collector
from atlas_mcp.watch.collector_sink import open_collector
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.payload import clean, describe_error
from atlas_mcp.watch.pruning import prune_daily
from atlas_mcp.watch.sidecar import End
from atlas_mcp.watch.sinks import Sink, open_sink
from atlas_mcp.watch.spool import Batch, BrokenSpoolFile, Waiting, read, tidy, waiting
from atlas_mcp.watch.state import IngestState, load_state, save_state
from atlas_mcp.watch.telling import Telling

IDLE_SECONDS: Final = 20.0

_POLL_SECONDS: Final = 0.5
_GROUP_BYTES: Final = 4 << 20
_GROUP_FILES: Final = 200
_ASIDE_BYTES: Final = 32 << 20
_SAID: Final = 8_000

_log = logging.getLogger("atlas.ingest")


def carry(home: Path, destination: End, *, idle_seconds: float = IDLE_SECONDS) -> bool:
    """Take what waits to its destination until nothing came for `idle_seconds`. False when it could not be reached."""
    spool = home / destination.folder
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    spool.mkdir(mode=0o700, exist_ok=True)
    held = Locks(home / "locks").try_hold(destination.lock)
    if held is None:
        return True
    with held:
        try:
            with _open(home, destination) as sink:
                _Carrier(spool, sink).work(idle_seconds)
            if isinstance(destination, Destination) and destination.kind == "home":
                prune_daily(home, destination.days)
        except (Unreachable, Refused, OSError) as error:
            said = clean(destination.scrub(describe_error(error, _SAID)), 500)
            asked = error.after_seconds if isinstance(error, Unreachable) else 0.0
            save_state(spool, load_state(spool).failed(said, at_least=asked))
            _log.warning("traces wait: %s", said)
            return False
    return True


def _open(home: Path, destination: End) -> AbstractContextManager[Sink]:
    return open_collector(destination) if isinstance(destination, Collector) else open_sink(home, destination)


class _Carrier:
    """One worker's round: what it found, what it gave on."""

    def __init__(self, spool: Path, sink: Sink) -> None:
        self._spool = spool
        self._sink = sink
        self._telling = Telling(spool, sink)
        # That it could be opened is no success yet: it may answer, and take nothing.
        self._save(load_state(spool).model_copy(update={"experiment_id": sink.experiment_id}))

    def work(self, idle_seconds: float) -> None:
        """Carry until nothing came for so long, or the home is gone. Raises Unreachable."""
        quiet_since = time.monotonic()
        while self._spool.exists():
            files = waiting(self._spool)
            if files:
                # One that took too long with much may manage less.
                for group in _groups(files, _GROUP_BYTES >> min(self._state.failures, 6)):
                    self._carry(group)
                quiet_since = time.monotonic()
            elif self._state.error:
                self._save(self._state.arrived())
            elif time.monotonic() - quiet_since >= idle_seconds:
                break
            else:
                time.sleep(_POLL_SECONDS)
        tidy(self._spool)

    def _carry(self, files: Sequence[Waiting]) -> None:
        readable = [(file, batch) for file in files if (batch := self._read(file)) is not None]
        if not readable:
            return
        batches = [batch for _, batch in readable]
        refused = 0
        try:
            self._put(batches)
        except PartlyRefused as error:
            refused = error.spans
            _log.warning("refused: %s", error)
        except Refused:
            for file, batch in readable:
                self._carry_alone(file, batch)
            return
        self._telling.tell(batches)
        for file, _ in readable:
            file.path.unlink(missing_ok=True)
        self._arrived(sum(len(batch.spans) for batch in batches) - refused, refused)

    def _put(self, batches: Sequence[Batch]) -> None:
        if spans := [batch for batch in batches if batch.spans]:
            self._sink.put(spans)

    def _arrived(self, spans: int, refused: int = 0) -> None:
        telling = self._telling
        self._save(self._state.arrived(spans, refused=refused, notes=telling.told, refused_notes=telling.refused))
        telling.told = telling.refused = 0

    def _carry_alone(self, file: Waiting, batch: Batch) -> None:
        """One file, and trace by trace if need be, so that one span that MLflow refuses costs its own trace only."""
        refused = 0
        for part in _by_trace(batch):
            try:
                self._sink.put([part])
            except Refused as error:
                refused += len(part.spans)
                _log.warning("%s: %d spans refused: %s", file.path.name, len(part.spans), error)
        self._telling.tell([batch])
        if refused:
            self._put_aside(file)
        file.path.unlink(missing_ok=True)
        self._arrived(len(batch.spans) - refused, refused)

    def _read(self, file: Waiting) -> Batch | None:
        try:
            return read(file.path)
        except FileNotFoundError:
            return None
        except BrokenSpoolFile as error:
            _log.warning("put aside: %s", error)
            self._put_aside(file)
            self._save(self._state.arrived(broken=1))
            return None

    def _put_aside(self, file: Waiting) -> None:
        folder = self._spool / "aside"
        folder.mkdir(mode=0o700, exist_ok=True)
        file.path.replace(folder / file.path.name)
        kept = 0
        for old in sorted(folder.iterdir(), reverse=True):
            kept += old.stat().st_size
            if kept > _ASIDE_BYTES:
                old.unlink(missing_ok=True)

    def _save(self, state: IngestState) -> None:
        self._state = state
        save_state(self._spool, state)


def _groups(files: Sequence[Waiting], most_bytes: int) -> Generator[Sequence[Waiting]]:
    """The files in the portions that go in one transaction or request."""
    group: list[Waiting] = []
    size = 0
    for file in files:
        if group and (size + file.size > most_bytes or len(group) == _GROUP_FILES):
            yield group
            group, size = [], 0
        group.append(file)
        size += file.size
    if group:
        yield group


def _by_trace(batch: Batch) -> list[Batch]:
    traces: dict[object, list[Mapping[str, Any]]] = {}
    for span in batch.spans:
        traces.setdefault(span.get("trace"), []).append(span)
    return [replace(batch, spans=tuple(spans)) for spans in traces.values()]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; see the module."""
    parser = argparse.ArgumentParser(prog="python -m atlas_mcp.watch.ingest", description="Carry traces to MLflow.")
    parser.add_argument("home", type=Path)
    parser.add_argument("--tracking-uri")
    parser.add_argument("--experiment", default="ATLAS")
    parser.add_argument("--once", action="store_true", help="end as soon as nothing waits")
    parser.add_argument("--destination-from-stdin", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    scrubbed = _Scrubbed(sys.stderr)
    sys.stderr = cast("TextIO", scrubbed)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(process)d %(levelname)s %(message)s")
    try:
        if given.destination_from_stdin:
            wire = sys.stdin.readline()
            destination = read_collector(wire) or Destination.model_validate_json(wire)
        else:
            destination = Destination(tracking_uri=given.tracking_uri, experiment=given.experiment)
        _ = destination.kind
        scrubbed.destination = destination
    except (ConfigurationError, ValueError) as error:
        _log.error("%s", error)
        return 2
    os.umask(0o077)
    if not given.once:
        _be_modest()  # nobody waits for it
    return 0 if carry(given.home, destination, idle_seconds=0.0 if given.once else IDLE_SECONDS) else 1


class _Scrubbed(io.TextIOBase):
    """Standard error without the destination's secrets, whoever writes there: MLflow and drivers log as they like."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.destination: End = Destination()

    def write(self, text: str, /) -> int:
        self._stream.write(self.destination.scrub(text))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()


def _be_modest() -> None:
    """Give way to every other process, where the system knows how."""
    nice = getattr(os, "nice", None)
    if nice:
        nice(19)


if __name__ == "__main__":
    sys.exit(main())
