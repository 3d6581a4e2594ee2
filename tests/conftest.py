"""Fixtures every suite may use, and the rule that a skipped suite can be made a failure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from pathlib import Path


settings.register_profile(
    "atlas",
    derandomize=True,
    database=None,
    deadline=None,  # what is called has one of its own
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
)
settings.load_profile("atlas")

pytest_plugins = ["tests.scripted"]
_OURS = ("ATLAS_", "LETTA_", "MLFLOW_", "OPENAI_", "ANTHROPIC_", "GOOGLE_", "OTEL_", "TAVILY_", "FIRECRAWL_")


@pytest.fixture
def anyio_backend() -> str:
    """ATLAS runs on asyncio: LangGraph and DBOS need it."""
    return "asyncio"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """An empty home folder of its own."""
    return tmp_path / "home"


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the developer's settings, keys or home folder."""
    for name in list(os.environ):
        if name.startswith(_OURS) and not name.startswith(("ATLAS_TEST_", "ATLAS_NO_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ATLAS_HOME", str(tmp_path / "home"))


def pytest_sessionfinish(session: pytest.Session) -> None:
    """With ATLAS_NO_SKIPS=1 a skipped test fails the session."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter else []
    if skipped and os.environ.get("ATLAS_NO_SKIPS") == "1" and session.exitstatus == 0:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
