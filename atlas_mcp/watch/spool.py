"""The spool: finished spans and notes on disk, on their way to MLflow.

One folder for each process that writes, one file for each batch: JSON lines, a head and then one span or note a line.
A file appears whole (written beside, then renamed) and is never changed, so whoever reads it needs no lock, and what a
killed process left is as good as what a living one wrote. The spool never grows beyond its limit by more than one batch
of each process that writes: what does not fit is refused, and the refusal is the writer's to count.

Nothing is fsynced: a kill loses nothing that was renamed, a power cut may.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

SUFFIX: Final = ".spans"
_FORM: Final = 1
_RESCAN_SECONDS: Final = 5.0
_ABANDONED_SECONDS: Final = 3_600.0


class BrokenSpoolFile(Exception):
    """Raised when a spool file is not what this program writes: cut off, damaged, or of a newer program."""


@dataclass(frozen=True)
class Waiting:
    """A spool file that waits to be taken up; they sort oldest first."""

    written_ns: int
    path: Path
    size: int


@dataclass(frozen=True)
class Batch:
    """What one spool file holds."""

    resource: Mapping[str, Any]
    spans: tuple[Mapping[str, Any], ...]
    notes: tuple[Mapping[str, Any], ...] = ()


class SpoolWriter:
    """One process's folder in the spool. Not for several threads at once; nothing exists on disk before a write."""

    def __init__(self, spool: Path, limit_bytes: int) -> None:
        self._spool = spool
        self._folder = spool / f"{os.getpid()}-{secrets.token_hex(4)}"
        self._limit = limit_bytes
        self._used = 0
        self._unscanned = 0
        self._scan_at: float | None = None

    def write(self, resource: Mapping[str, Any], lines: Sequence[str]) -> bool:
        """Put a batch on disk; False when the spool is full. Raises OSError when the disk does not take it."""
        head = json.dumps({"form": _FORM, "spans": len(lines), "resource": dict(resource)}, default=str)
        body = "\n".join((head, *lines, "")).encode()
        if not self._fits(len(body)):
            return False
        name = f"{time.time_ns():020d}-{len(lines)}-{secrets.token_hex(3)}{SUFFIX}"
        try:
            self._put(name, body)
        except FileNotFoundError:  # the folder was empty, and was tidied away at this very moment
            self._put(name, body)
        self._used += len(body)
        self._unscanned += len(body)
        return True

    def _put(self, name: str, body: bytes) -> None:
        self._spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._folder / f"{name}.tmp"
        try:
            draft.touch(mode=0o600)
            draft.write_bytes(body)
            draft.replace(self._folder / name)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink()  # half a batch on a full disk is in everybody's way
            raise

    def _fits(self, size: int) -> bool:
        # Others write and the ingest removes: what lies there is counted again when it seems full and now and then.
        now = time.monotonic()
        unsure = self._scan_at is None or self._unscanned > self._limit // 16
        full = self._used + size > self._limit
        if unsure or (full and now - (self._scan_at or 0.0) > _RESCAN_SECONDS):
            self._used, self._unscanned, self._scan_at = spool_bytes(self._spool), 0, now
        return self._used + size <= self._limit


def waiting(spool: Path) -> list[Waiting]:
    """The files that wait, oldest first, of all processes, also of those that have ended."""
    entries = (entry for folder in _folders(spool) for entry in _entries(folder) if entry.name.endswith(SUFFIX))
    found = [file for entry in entries if (file := _measure(entry))]
    return sorted(found, key=lambda file: (file.written_ns, file.path.name))


def anything_waits(spool: Path) -> bool:
    """Whether any file waits; cheaper than listing them."""
    return any(entry.name.endswith(SUFFIX) for folder in _folders(spool) for entry in _entries(folder))


def spool_bytes(spool: Path) -> int:
    """How many bytes wait in the spool."""
    return sum(file.size for file in waiting(spool))


def read(path: Path) -> Batch:
    """What a spool file holds. Raises BrokenSpoolFile when it cannot be trusted, FileNotFoundError when it is gone."""
    try:
        # Split as bytes: a text's `splitlines` would also split at characters that JSON leaves as they are.
        head, *rows = [json.loads(line) for line in path.read_bytes().split(b"\n") if line]
        if head["form"] != _FORM or head["spans"] != len(rows):
            raise BrokenSpoolFile(f"{path.name} has {len(rows)} of {head['spans']} spans in form {head['form']}")
        lines = cast("list[dict[str, Any]]", rows)
        spans = tuple(line for line in lines if "note" not in line)
        notes = tuple(line for line in lines if "note" in line)
        return Batch(resource=dict(head["resource"]), spans=spans, notes=notes)
    except FileNotFoundError:
        raise
    except (ValueError, TypeError, KeyError) as error:
        raise BrokenSpoolFile(f"{path.name}: {error}") from error


def tidy(spool: Path) -> None:
    """Remove drafts that were never finished and folders that are empty; a process that still writes makes its anew."""
    for folder in _folders(spool):
        for entry in _entries(folder):
            if entry.name.endswith(".tmp") and (file := _measure(entry)) and _age(entry) > _ABANDONED_SECONDS:
                file.path.unlink(missing_ok=True)
        try:
            folder.rmdir()
        except OSError:
            continue  # not empty: in use


def _folders(spool: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(spool) if entry.is_dir() and entry.name[:1].isdigit()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _measure(entry: os.DirEntry[str]) -> Waiting | None:
    stamp = entry.name.split("-", 1)[0]
    try:
        return Waiting(int(stamp) if stamp.isdigit() else 0, Path(entry.path), entry.stat().st_size)
    except FileNotFoundError:
        return None


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0
