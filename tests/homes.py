"""The files of a home in which somebody is at work: what was seen a moment ago may be gone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def files(home: Path) -> Iterator[Path]:
    """Every file. Unlike `rglob`, a walk passes over a folder that goes meanwhile."""
    for folder, _, names in os.walk(home):
        yield from (path for name in names if (path := Path(folder, name)).is_file())


def contents(home: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file and what stands in it."""
    for path in files(home):
        try:
            yield path, path.read_bytes()
        except FileNotFoundError:
            continue


def stats(home: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Every file and what the file system says of it."""
    for path in files(home):
        try:
            yield path, path.stat()
        except FileNotFoundError:
            continue
