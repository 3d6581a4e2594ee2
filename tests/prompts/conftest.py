"""What the suites about prompts share: both kinds of record, and what waits in the spool."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from atlas_mcp.store.locks import Locks
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.watch.sidecar import LOCK
from atlas_mcp.watch.spool import read, waiting
from tests.postgres import session_postgres

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Postgres | None:
    """What `open_record` takes beside the home: nothing, or a database on a PostgreSQL."""
    return None if request.param == "sqlite" else Postgres(session_postgres().new_database())


@pytest.fixture
def _uncarried(home: Path) -> Iterator[None]:
    """Nothing is taken out of the home's spool while the test runs."""
    (home / "locks").mkdir(mode=0o700, parents=True)
    held = Locks(home / "locks").try_hold(LOCK)
    assert held
    with held:
        yield


@pytest.fixture
def spooled(home: Path, _uncarried: None) -> Callable[[], list[Any]]:
    """The spans and notes that wait to be taken to MLflow."""
    return lambda: [row for file in waiting(home / "spool") for row in read(file.path).spans]


@pytest.fixture
def told(home: Path, _uncarried: None) -> Callable[[], list[Any]]:
    """The notes of prompts among them."""

    def notes() -> list[Any]:
        lines = [line for file in waiting(home / "spool") for line in file.path.read_text().splitlines()[1:]]
        return [row["note"] for row in map(json.loads, lines) if row.get("kind") == "prompt"]

    return notes
