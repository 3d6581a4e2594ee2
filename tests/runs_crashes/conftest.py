"""Where the workers of a test are: on one home, or with homes of their own on one PostgreSQL and one Letta server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from atlas_mcp.store.postgres import Postgres
from tests.letta_process import letta_process
from tests.postgres import session_postgres
from tests.runs_crashes.world import ANSWERS, Place
from tests.scripted_model import ScriptedModel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    """A model that answers all of a team task after a moment, and counts."""
    with ScriptedModel() as model:
        model.on(lambda _: True, ANSWERS)
        yield model


@pytest.fixture(params=["sqlite", "postgresql"])
def place(
    request: pytest.FixtureRequest, tmp_path: Path, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Place]:
    """Three homes for workers, the same one or three, and what their processes are told."""
    given = {"ATLAS_MODEL": "openai:scripted-1", "OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "k"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    if request.param == "sqlite":
        yield Place([tmp_path / "home"] * 3, None, tmp_path / "home")
        return
    address = session_postgres().new_database()
    with letta_process(tmp_path / "letta") as letta:
        monkeypatch.setenv("ATLAS_DATABASE_URL", address)
        monkeypatch.setenv("LETTA_BASE_URL", letta.address)
        monkeypatch.setenv("LETTA_API_KEY", letta.key)
        yield Place([tmp_path / f"home-{n}" for n in range(3)], Postgres(address), tmp_path / "looking-on")
