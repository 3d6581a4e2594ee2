"""Servers over HTTP that all clients of a session come to, on homes of their own; and the old Python SDK."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.clients.journey import SLOW
from tests.server.doors import http_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

OLD_SDK = "mcp==1.28.1"


@contextmanager
def _served(home: Path, **environment: str) -> Iterator[tuple[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"ATLAS_HOME": str(home), **environment}.items():
            patch.setenv(name, value)
        with http_server() as (address, key, _):
            yield address, key


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Its address and its key."""
    with _served(tmp_path_factory.mktemp("clients") / "home") as served:
        yield served


@pytest.fixture(scope="session")
def slow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """One whose agents are slow: its address and its key."""
    with _served(tmp_path_factory.mktemp("slow") / "home", **SLOW) as served:
        yield served


@pytest.fixture(scope="session")
def old_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python that has the old SDK, and nothing of ours."""
    from uv import find_uv_bin

    venv = tmp_path_factory.mktemp("old") / "venv"
    # The tests' own environment would be taken for the one that is meant.
    environment = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    python = str(venv / ("Scripts/python.exe" if os.name == "nt" else "bin/python"))
    create = [find_uv_bin(), "venv", "--quiet", "--seed", "--python", sys.executable, str(venv)]
    subprocess.run(create, env=environment, check=True, timeout=120)
    subprocess.run([python, "-m", "pip", "install", "--quiet", OLD_SDK], env=environment, check=True, timeout=300)
    return python
