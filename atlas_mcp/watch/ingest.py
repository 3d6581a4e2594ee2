"""The carrier: takes traces from the spool to MLflow, and ends when there is nothing left to do.

    python -m atlas_mcp.watch.ingest HOME [--tracking-uri URI] [--experiment NAME] [--once]

One works on a home at a time (a file lock, freed by the system when it dies); a second one ends at once. Files are
removed from the spool only after MLflow has them, and MLflow keeps one span for each id, so one that is killed loses
and doubles nothing. A file that cannot be read, or that MLflow refuses, is put into the spool's folder `aside`,
counted, and holds up nothing. When MLflow cannot be reached it says so in the spool, and ends; the next one comes after
a pause.

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
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TextIO, cast

from atlas_mcp.errors import ConfigurationError
from atlas_mcp.store.locks import Locks
from atlas_mcp.watch.destination import Destination
from atlas_mcp.watch.payload import clean, describe_error
from atlas_mcp.watch.sidecar import LOCK
from atlas_mcp.watch.sinks import Refused, Sink, Unreachable, open_sink
from atlas_mcp.watch.spool import Batch, BrokenSpoolFile, Waiting, read, tidy, waiting
from atlas_mcp.watch.state import IngestState, load_state, save_state

IDLE_SECONDS: Final = 20.0

_POLL_SECONDS: Final = 0.5
_GROUP_BYTES: Final = 4 << 20
_GROUP_FILES: Final = 200
_ASIDE_BYTES: Final = 32 << 20
_SAID: Final = 8_000

_log = logging.getLogger("atlas.ingest")


def carry(home: Path, destination: Destination, *, idle_seconds: float = IDLE_SECONDS) -> bool:
    """Take what waits to its destination until nothing came for `idle_seconds`. False when it could not be reached."""
    (home / "locks").mkdir(mode=0o700, parents=True, exist_ok=True)
    (home / "spool").mkdir(mode=0o700, exist_ok=True)
    held = Locks(home / "locks").try_hold(LOCK)
    if held is None:
        return True
    with held:
        try:
            with open_sink(home, destination) as sink:
                _Carrier(home / "spool", sink).work(idle_seconds)
        except (Unreachable, Refused, OSError) as error:
            said = clean(destination.scrub(describe_error(error, _SAID)), 500)
            save_state(home / "spool", load_state(home / "spool").failed(said))
            _log.warning("traces wait: %s", said)
            return False
    return True


class _Carrier:
    """One worker's round: what it found, what it gave on."""

    def __init__(self, spool: Path, sink: Sink) -> None:
        self._spool = spool
        self._sink = sink
        self._state = load_state(spool).model_copy(update={"experiment_id": sink.experiment_id})
        self._save(self._state.arrived())

    def work(self, idle_seconds: float) -> None:
        """Carry until nothing came for so long, or the home is gone. Raises Unreachable."""
        quiet_since = time.monotonic()
        while self._spool.exists():
            files = waiting(self._spool)
            if files:
                for group in _groups(files):
                    self._carry(group)
                quiet_since = time.monotonic()
            elif time.monotonic() - quiet_since >= idle_seconds:
                break
            else:
                time.sleep(_POLL_SECONDS)
        tidy(self._spool)

    def _carry(self, files: Sequence[Waiting]) -> None:
        readable = [(file, batch) for file in files if (batch := self._read(file)) is not None]
        if not readable:
            return
        try:
            self._sink.put([batch for _, batch in readable])
        except Refused:
            for file, batch in readable:
                self._carry_alone(file, batch)
            return
        for file, _ in readable:
            file.path.unlink(missing_ok=True)
        self._save(self._state.arrived(sum(len(batch.spans) for _, batch in readable)))

    def _carry_alone(self, file: Waiting, batch: Batch) -> None:
        """One file, and trace by trace if need be, so that one span that MLflow refuses costs its own trace only."""
        refused = 0
        for part in _by_trace(batch):
            try:
                self._sink.put([part])
            except Refused as error:
                refused += len(part.spans)
                _log.warning("%s: %d spans refused: %s", file.path.name, len(part.spans), error)
        if refused:
            self._put_aside(file)
        file.path.unlink(missing_ok=True)
        self._save(self._state.arrived(len(batch.spans) - refused, refused=refused))

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


def _groups(files: Sequence[Waiting]) -> Generator[Sequence[Waiting]]:
    """The files in the portions that go in one transaction or request."""
    group: list[Waiting] = []
    size = 0
    for file in files:
        if group and (size + file.size > _GROUP_BYTES or len(group) == _GROUP_FILES):
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
            destination = Destination.model_validate_json(sys.stdin.readline())
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
        self.destination = Destination()

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
        nice(10)


if __name__ == "__main__":
    sys.exit(main())
