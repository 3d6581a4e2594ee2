"""Whether anybody added anything to the roster of a home, asked without opening the record.

Listing the agents must not wait for the database where there is nothing to read in it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def has_additions(record: Path) -> bool:
    """Whether the record holds an addition of any caller's; False where there is no record, or none that reads."""
    if not record.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{record.absolute().as_uri()}?mode=ro", uri=True, timeout=0.5)) as connection:
            return connection.execute("SELECT 1 FROM addition LIMIT 1").fetchone() is not None
    except sqlite3.Error:  # opening the record will say what is wrong, to the first call that needs it
        return False
