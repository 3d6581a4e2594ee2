"""Where what is remembered can be, in the file of a home or on a PostgreSQL; and time enough for a busy machine."""

from __future__ import annotations

import pytest

from atlas_mcp.memory import embedding, uses
from atlas_mcp.memory.redis import link
from atlas_mcp.store.postgres import Postgres
from tests.postgres import session_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Postgres | None:
    """What `open_record` takes beside the home."""
    return None if request.param == "sqlite" else Postgres(session_postgres().new_database())


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deadlines after which something else answers are long here; a test that is about one sets it."""
    monkeypatch.setattr(embedding, "QUERY_SECONDS", 30.0)
    monkeypatch.setattr(link, "CALL_SECONDS", 10.0)
    monkeypatch.setattr(link, "CONNECT_SECONDS", 10.0)
    monkeypatch.setattr(uses, "LAST_SECONDS", 30.0)
