"""Fixtures of this room's tests."""

from __future__ import annotations

from tests.scripted import scripted_model  # noqa: F401  # a fixture
