"""Becomes another MCP server's program, once it is sure to end with ATLAS.

Run by its path in an isolated interpreter without site packages; it imports nothing of ours by name. Its arguments are
the platform file's path, the id of ATLAS' process, and the command.
"""

from __future__ import annotations

import importlib.util
import sys
from typing import Any


def _become() -> None:
    path, parent, *command = sys.argv[1:]
    spec = importlib.util.spec_from_file_location("platform_of_atlas", path)
    if spec is None or spec.loader is None:
        raise ImportError(path)
    platform: Any = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = platform  # dataclasses look their module up
    spec.loader.exec_module(platform)
    platform.become(int(parent), command)


if __name__ == "__main__":
    _become()
