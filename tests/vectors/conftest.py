"""Where the record can be: in the file of a home, or on a PostgreSQL."""

from __future__ import annotations

import pytest

from atlas_mcp.store.postgres import Postgres
from tests.postgres import session_postgres


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Postgres | None:
    """What `open_record` takes beside the home."""
    return None if request.param == "sqlite" else Postgres(session_postgres().new_database())
