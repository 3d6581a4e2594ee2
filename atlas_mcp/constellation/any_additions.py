"""Whether anybody added anything to the roster of a home, asked without opening the record.

Listing the agents must not wait for the database where there is nothing to read in it: it is looked into again only
when one of its files was written to.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


_TICK = 100_000_000
"""Nanoseconds in which a second write may leave a file with the time of the first one."""


class AnyAdditions:
    """What is known of one home's record."""

    def __init__(self, record: Path) -> None:
        self._record = record
        self._written: tuple[int, ...] | None = None
        self._there = False

    def there(self) -> bool:
        """Whether the record holds an addition of any caller's; False where there is no record, or none that reads."""
        written = self._when_written()
        if written is None or written != self._written:
            self._there, self._written = has_additions(self._record), written
        return self._there

    def _when_written(self) -> tuple[int, ...] | None:
        """When its files were written to, and how long they are; None where that says too little."""
        found: list[int] = []
        for path in (self._record, self._record.with_name(f"{self._record.name}-wal")):
            try:
                stat = path.stat()
            except OSError:
                found.append(0)
                continue
            if abs(time.time_ns() - stat.st_mtime_ns) < _TICK:
                return None
            found += stat.st_mtime_ns, stat.st_size
        return tuple(found)


def has_additions(record: Path) -> bool:
    """Whether the record holds an addition of any caller's; False where there is no record, or none that reads."""
    if not record.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{record.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)) as connection:
            return connection.execute("SELECT 1 FROM addition LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # opening the record will say what is wrong, to the first call that needs it
        return False
