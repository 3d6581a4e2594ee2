"""The engines of several processes come to a new home at the same moment: they wait for each other's file."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from atlas_mcp.store import files

if TYPE_CHECKING:
    from pathlib import Path


def test_the_way_to_wal_is_asked_for_again_while_another_process_writes_into_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")  # SQLite refuses at once then, whatever timeout a connection has
    refused: list[float] = []

    def done(seconds: float) -> None:
        refused.append(seconds)
        other.close()

    monkeypatch.setattr(files, "sleep", done)
    mine = sqlite3.connect(path, isolation_level=None)
    files.write_ahead(mine, 60)
    assert len(refused) == 1
    assert mine.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    mine.close()


def test_a_file_that_stays_locked_is_given_up(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    mine = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        files.write_ahead(mine, 0)
    mine.close()
    other.close()
