"""The folders that tools work in: one for each call, below the home.

Promise: a folder is empty at first, and gone when its call ends. What a process that was killed left behind is taken
away by `sweep`; a folder in use, by whichever process, never is.
"""

from __future__ import annotations

import shutil
import uuid
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from atlas_mcp.store.locks import Locks


class ToolFolders:
    """Folders below `root`, which is made at the first one. Each has a lock of its name for as long as it is in use."""

    def __init__(self, root: Path, locks: Locks) -> None:
        self._root = root
        self._locks = locks

    @contextmanager
    def new(self) -> Generator[str]:
        """An empty folder (mode 0700) for one call."""
        name = f"tool-{uuid.uuid4().hex}"
        folder = self._root / name
        held = self._locks.try_hold(name)  # before the folder is there, so that nobody finds it without an owner
        try:
            folder.mkdir(mode=0o700, parents=True)
            yield str(folder)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if held:
                held.release()

    def sweep(self) -> None:
        """Take away the folders whose owner is gone."""
        for folder in self._root.glob("tool-*"):
            if held := self._locks.try_hold(folder.name):
                with held:
                    shutil.rmtree(folder, ignore_errors=True)
