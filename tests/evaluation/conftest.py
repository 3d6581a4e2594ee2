"""What is told to MLflow stays in the home's spool, where a test asks for that."""

from __future__ import annotations

from tests.watch.conftest import _uncarried

__all__ = ["_uncarried"]
