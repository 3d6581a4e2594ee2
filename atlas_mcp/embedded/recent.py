"""The threads used last, as they were read: a turn then reads what is new in its thread, not the whole of it again.

Right whoever else writes to the file. An entry is written once, under a number that is never given again, and is never
changed, only deleted: a thread that holds as many entries up to the last known one as are known holds those.
"""

from __future__ import annotations

import sqlite3
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from atlas_mcp.embedded import entries
from atlas_mcp.embedded.entries import Entry

_COUNT = "SELECT count(*) FROM message WHERE thread_id = ? AND seq > ? AND seq <= ?"


@dataclass(frozen=True)
class Past:
    """A thread's entries, oldest first, and those of them that are LangChain's messages already, by their ids."""

    entries: list[Entry]
    messages: dict[str, Any] = field(default_factory=dict[str, Any])


class Recent:
    """The `most` threads used last. Used in the database's thread only."""

    def __init__(self, most: int = 64) -> None:
        self._most = most
        self._threads = OrderedDict[str, Past]()

    def read(self, connection: sqlite3.Connection, thread_id: str, after: int) -> Past:
        """The thread's entries beyond the seq `after`."""
        past = self._still_right(connection, thread_id, after)
        last = past.entries[-1].seq if past.entries else after
        past = Past([*past.entries, *entries.of_thread(connection, thread_id, last)], past.messages)
        self._threads[thread_id] = past
        if len(self._threads) > self._most:
            self._threads.popitem(last=False)
        return past

    def _still_right(self, connection: sqlite3.Connection, thread_id: str, after: int) -> Past:
        past = self._threads.pop(thread_id, None)
        if past is None or not past.entries:
            return Past([])
        known = past if past.entries[0].seq > after else Past([one for one in past.entries if one.seq > after])
        if not known.entries:
            return known
        there = connection.execute(_COUNT, (thread_id, after, known.entries[-1].seq)).fetchone()[0]
        return known if there == len(known.entries) else Past([])
