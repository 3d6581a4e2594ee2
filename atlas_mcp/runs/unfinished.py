"""Whether a home has unfinished runs, asked without opening the record.

A server that starts must answer its host at once; only where work waits does it load the database and the engine.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def has_unfinished(record: Path) -> bool:
    """Whether the record holds a run that has not ended; False where there is no record, or none that reads.

    One that waits for an answer counts, too: its question has a deadline, at which somebody must be there.
    """
    if not record.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{record.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)) as connection:
            query = "SELECT 1 FROM run WHERE status IN ('queued', 'working', 'awaiting_answer') LIMIT 1"
            return connection.execute(query).fetchone() is not None
    except sqlite3.Error:
        # Opening the record will say what is wrong, to the first call that needs it.
        return False
