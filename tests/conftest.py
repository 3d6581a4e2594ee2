"""Fixtures every suite may use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def anyio_backend() -> str:
    """ATLAS runs on asyncio: LangGraph and DBOS need it."""
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder of its own."""
    return tmp_path / "home"
