"""The process that has Chroma: `python -m atlas_mcp.memory.chroma.child`, told by its standard input what to do.

Chroma can crash or hang whoever opens damaged files, takes a second to be imported and hundreds of megabytes: nothing
of that may happen to a server. The process lives as long as its input is open; then it finishes what it is at, closes
Chroma and ends, also when whoever started it was killed. One that hangs ends itself. The files of a home are its own
under a file lock, which is freed by its end.
"""

from __future__ import annotations

import faulthandler
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from atlas_mcp.memory.chroma import wire
from atlas_mcp.memory.chroma.files import Files
from atlas_mcp.store.locks import Locks

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.memory.chroma.collections import Collections
    from atlas_mcp.store.locks import Held

LOCK = "chroma-files"
_LOCK_SECONDS = 15.0
"""How long one waits for the process of an owner that has just ended."""
_CHANGE_SECONDS = 120.0
_CLOSE_SECONDS = 20.0


class Taken(Exception):
    """Raised when another process keeps the files."""


class Child:
    """Chroma, open, and what is done with it."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._writing = threading.Lock()
        self._held: Held | None = None
        self._files: Files | None = None
        self._collections: Collections | None = None
        self._changes = ThreadPoolExecutor(1)
        self._queries = ThreadPoolExecutor(1)

    def take(self, header: dict[str, Any], numbers: bytes) -> None:
        """Do what the message says, after what was asked before; queries and changes do not wait for each other."""
        pool = self._queries if header["do"] == "query" else self._changes
        pool.submit(self._answer, header, numbers)

    def _answer(self, header: dict[str, Any], numbers: bytes) -> None:
        do, number = str(header.pop("do")), header.pop("id")
        try:
            if do == "query":
                given = self._do(do)(numbers, **header)
            else:
                # Ends the process whatever it hangs in: nobody may be left to do it.
                faulthandler.dump_traceback_later(_CHANGE_SECONDS, exit=True)
                try:
                    given = self._do(do)(numbers, **header)
                finally:
                    faulthandler.cancel_dump_traceback_later()
            said, answer = given
        except BaseException as error:  # noqa: BLE001 - whatever it is, who asked is told
            said, answer = {"error": f"{type(error).__name__}: {error}"[:500], "problem": _problem(error)}, b""
        with self._writing:
            self._out.write(wire.packed({"id": number, **said}, answer))
            self._out.flush()

    def _do(self, do: str) -> Callable[..., tuple[dict[str, Any], bytes]]:
        if do in ("open", "checked", "whole"):
            return {"open": self._open, "checked": self._checked, "whole": self._whole}[do]
        if self._collections is None:
            raise RuntimeError("Chroma is not open")
        return self._collections.means[do]

    def _open(
        self, _: bytes, home: str, url: str | None, suffix: str, anew: bool = False
    ) -> tuple[dict[str, Any], bytes]:
        from atlas_mcp.memory.chroma.collections import Collections, on_server, with_files

        mark = "clean"
        if url is None:
            self._held = _locked(Path(home))
            self._files = Files(Path(home))
            mark = self._files.open(anew=anew)
            client = with_files(self._files.path)
        else:
            client = on_server(url)
        self._collections = Collections(client, suffix)
        return {"mark": mark, "fingerprints": self._collections.fingerprints()}, b""

    def _checked(self, _: bytes) -> tuple[dict[str, Any], bytes]:
        if self._files is not None:
            self._files.checked()
        return {}, b""

    def _whole(self, _: bytes) -> tuple[dict[str, Any], bytes]:
        if self._files is not None:
            self._files.delete_moved()
        return {}, b""

    def close(self) -> None:
        """Finish what was asked, and leave Chroma's files closed."""
        faulthandler.dump_traceback_later(_CLOSE_SECONDS, exit=True)
        self._queries.shutdown()
        self._changes.shutdown()
        if self._collections is not None:
            self._collections.close()
            if self._files is not None:
                self._files.closed()
        if self._held is not None:
            self._held.release()
        faulthandler.cancel_dump_traceback_later()


def _locked(home: Path) -> Held:
    locks, until = Locks(home / "locks"), time.monotonic() + _LOCK_SECONDS
    while (held := locks.try_hold(LOCK)) is None:
        if time.monotonic() > until:
            raise Taken("another process keeps Chroma's files")
        time.sleep(0.05)
    return held


def _problem(error: BaseException) -> wire.Problem:
    if isinstance(error, Taken):
        return "taken"
    if isinstance(error, OSError):
        return "unwritable"
    # Chroma's errors are imported with it, which is not there before it is open.
    refused = {"InvalidArgumentError", "InvalidDimensionException"}
    return "refused" if type(error).__name__ in refused else "failed"


def main() -> None:
    """Serve until the input ends."""
    out = sys.stdout.buffer
    sys.stdout = sys.stderr  # what Chroma may print is no message
    child = Child(out)
    try:
        for header, numbers in iter(partial(wire.read, sys.stdin.buffer), None):
            child.take(header, numbers)
    except KeyboardInterrupt:
        pass  # of a terminal, which means the server: it ends us by the end of the input
    finally:
        child.close()


if __name__ == "__main__":
    main()
