"""Where a record can be: in a file of a home, or in a PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.store import line
from atlas_mcp.store.postgres import Postgres
from tests.postgres import session_postgres
from tests.store.doors import DOORS

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL on a busy machine may take its time to say who holds a lock."""
    monkeypatch.setattr(line, "ANSWER_SECONDS", 20.0)


@pytest.fixture
def postgres() -> Postgres:
    """A database of its own on the session's PostgreSQL."""
    return Postgres(session_postgres().new_database())


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Postgres | None:
    """What `open_record` takes beside the home: nothing, or a database on a PostgreSQL."""
    return None if request.param == "sqlite" else request.getfixturevalue("postgres")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An existing home folder."""
    return tmp_path


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> str:
    """By which door the record is written."""
    return request.param
