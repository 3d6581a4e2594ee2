"""Scripted agents need no pause between attempts."""

from __future__ import annotations

import pytest

from atlas_mcp.teamwork import attempts


@pytest.fixture(autouse=True)
def _no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "BACKOFF_SECONDS", 0.0)
