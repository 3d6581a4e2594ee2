"""Chroma's files in the home, and the mark that says how the last process with them ended.

Chroma writes its index in place, in several files: a process that is killed there leaves files that give wrong answers,
crash whoever reads them, or hang. So: no mark, and they were closed; `serving`, and their owner did not close them:
they must be looked at; `checking`, and their owner ended while it looked at them: they are not touched again. Those are
moved aside, and deleted once a new copy stands in their place.
"""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path
from typing import Literal

Mark = Literal["clean", "serving", "checking"]


class Files:
    """The folder `<home>/chroma`; for the one process that holds the lock on it."""

    def __init__(self, home: Path) -> None:
        self.folder = home / "chroma"
        self.path = self.folder / "files"
        self._mark = self.folder / "mark"
        self._before: Mark = "clean"

    def open(self, *, anew: bool) -> Mark:
        """Make them ready to be looked at; how their last owner left them. OSError where they cannot be written.

        Those that somebody ended over are moved aside; all that there are, are deleted where a copy `anew` is wanted.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._before = self.mark
        if anew:
            self.delete_moved()
            _delete(self.path)
        elif not self.path.is_dir():
            _delete(self.path)
        elif self._before == "checking":
            self.delete_moved()
            self.path.rename(self.folder / f"broken-{int(time.time())}")
        self.path.mkdir(mode=0o700, exist_ok=True)
        self._write("checking")
        return self._before

    @property
    def mark(self) -> Mark:
        """How their last owner left them; what cannot be read is taken for the worst."""
        try:
            said = self._mark.read_text()
        except FileNotFoundError:
            return "clean"
        return "serving" if said == "serving" else "checking"

    def checked(self) -> None:
        """They were looked at, and are well."""
        self._write("serving")

    def closed(self) -> None:
        """Chroma has closed them. Who leaves before they were looked at, leaves them as they were."""
        if self.mark == "checking" and self._before != "clean":
            self._write("serving")
        else:
            self._mark.unlink(missing_ok=True)

    def delete_moved(self) -> None:
        """Delete what was moved aside."""
        for folder in self.folder.glob("broken-*"):
            _delete(folder)

    def _write(self, mark: Mark) -> None:
        draft = self._mark.with_name("mark.new")
        with draft.open("w") as file:
            file.write(mark)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._mark)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
