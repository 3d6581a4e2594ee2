"""The door to the user's files: what is in the folders that are allowed, what a file says, and where something stands.

Promise: nothing is read but regular, visible files with one name (a second one, a hard link, may lie elsewhere) below
the allowed folders, and never the home of ATLAS; links are not followed. A hostile file costs one ToolFailed: it is
read in a process of its own.
"""

from __future__ import annotations

import errno
import os
from collections import OrderedDict
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import anyio.to_thread

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.files.places import MAX_DEPTH, Place, is_hidden, located
from atlas_mcp.store.below import FolderEntry, list_below, open_below

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from atlas_mcp.reach.readers import Readers

MOST_BYTES = 30_000_000
MOST_SEEN = 20_000
"""Names that are looked at in a folder, or below it."""
READ_SECONDS = 40.0
_KEPT_TEXTS, _KEPT_CHARS = 1_000, 10_000_000
_FORMATS = {
    ".pdf": "pdf",
    ".docx": "docx",
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), "sheet"),
}
_BOMS = (b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf")
_SAID = {
    errno.ENOENT: "there is no such file or folder",
    errno.ELOOP: "it is a link, and links are not followed",
    errno.ENOTDIR: "a part of its way is no folder, or is a link, and links are not followed",
    errno.EISDIR: "it is a folder",
    errno.EACCES: "it may not be read",
    errno.EPERM: "it may not be read",
    errno.EINVAL: "it is no regular file",
}


@dataclass(frozen=True)
class Text:
    """What a file says, or a part of it; `parts` are its pages' number or its sheets' names."""

    path: str
    text: str
    title: str = ""
    part: str = ""
    parts: tuple[str, ...] = ()
    cut: str = ""


@dataclass(frozen=True)
class Found:
    """A file or a folder below a place."""

    path: str
    names: tuple[str, ...]
    entry: FolderEntry


@dataclass(frozen=True)
class Listed:
    """Files and folders that were seen; `cut`: there are more, which were not looked at."""

    found: list[Found]
    cut: bool


class Files:
    """All files of the home's agents, for all turns; `home` is closed to them. The last texts are kept at hand."""

    def __init__(self, home: Path, readers: Readers) -> None:
        self._home = home
        self._readers = readers
        self._kept: OrderedDict[tuple[Any, ...], Text] = OrderedDict()

    def entries(self, place: Place, names: Sequence[str]) -> Listed:
        """What may be seen in a folder, by name. Runs in a thread."""
        try:
            found = list_below(place.folder, names, MOST_SEEN + 1, self._home)
        except OSError as error:
            raise told(error, "/".join((place.label, *names))) from None
        seen = [one for one in found if not is_hidden(one.name) and one.kind in {"file", "folder"}]
        seen.sort(key=lambda one: (one.name.casefold(), one.name))
        shown = [Found("/".join((place.label, *names, one.name)), (*names, one.name), one) for one in seen]
        return Listed(shown, cut=len(found) > MOST_SEEN)

    def walk(self, place: Place, names: Sequence[str]) -> Listed:
        """Every file below, a folder's own before those further below; folders that cannot be looked into, and those
        deeper than a path may be, are left out. Runs in a thread."""
        files: list[Found] = []
        seen, cut, waiting = 0, False, [tuple(names)]
        while waiting:
            if seen > MOST_SEEN:
                return Listed(files, cut=True)
            here = waiting.pop()
            try:
                listed = self.entries(place, here)
            except ToolFailed:
                if here == tuple(names):
                    raise
                continue
            seen, cut = seen + len(listed.found), cut or listed.cut
            files += [one for one in listed.found if one.entry.kind == "file"]
            folders = [one.names for one in listed.found if one.entry.kind == "folder"]
            waiting += reversed([folder for folder in folders if len(folder) < MAX_DEPTH])
        return Listed(files, cut)

    async def read(self, path: str, places: Sequence[Place], part: str = "", seconds: float = READ_SECONDS) -> Text:
        """The text of a file. ToolFailed says what is wrong with the path, the file, or the part."""
        place, names = located(path, places)
        shown = "/".join((place.label, *names))
        if not names:
            raise ToolFailed(f"{shown}: it is a folder.", next_step="Call list_files to see what is in it.")
        body, mark = await anyio.to_thread.run_sync(self._bytes, place, names, shown, abandon_on_cancel=True)
        key = (*mark, names[-1], part)
        if key in self._kept:
            self._kept.move_to_end(key)
            return replace(self._kept[key], path=shown)  # it may have been read by another way
        made = await self._text(shown, names[-1], body, part, seconds)
        self._keep(key, made)
        return made

    async def _text(self, shown: str, name: str, body: bytes, part: str, seconds: float) -> Text:
        kind = kind_of(name, body)
        if kind is None:
            raise ToolFailed(f"{shown}: it is not text, and of a kind that is not read. {_READABLE}")
        if part and kind not in {"pdf", "sheet"}:
            raise ToolFailed(f"{shown}: part: only a PDF and a spreadsheet have parts; leave it out.")
        try:
            said = await self._readers.call(
                "atlas_mcp.reach.files.documents:read", body, seconds=seconds, kind=kind, part=part
            )
        except ToolFailed as error:
            raise ToolFailed(f"{shown}: {error.message}", next_step=error.next_step) from None
        return Text(shown, said["text"], said["title"], said["part"], tuple(said["parts"]), said["cut"])

    def _keep(self, key: tuple[Any, ...], made: Text) -> None:
        self._kept[key] = made
        while len(self._kept) > _KEPT_TEXTS or sum(len(one.text) for one in self._kept.values()) > _KEPT_CHARS:
            self._kept.popitem(last=False)

    def _bytes(self, place: Place, names: Sequence[str], shown: str) -> tuple[bytes, tuple[int, ...]]:
        """All of the file, as it was at one moment, and what tells that state of it from others. Runs in a thread."""
        try:
            fd = open_below(place.folder, names, self._home)
            with os.fdopen(fd, "rb") as file:
                before = os.fstat(fd)
                if before.st_nlink > 1:
                    raise ToolFailed(
                        f"{shown}: it has a second name (a hard link), which may lie outside of the allowed folders.",
                        next_step="Ask for a copy of it.",
                    )
                if before.st_size > MOST_BYTES:
                    raise ToolFailed(f"{shown}: it has {before.st_size:,} bytes; at most {MOST_BYTES:,} are read.")
                body = file.read(MOST_BYTES + 1)
                after = os.fstat(fd)
        except OSError as error:
            raise told(error, shown) from None
        mark = (before.st_dev, before.st_ino, before.st_size, before.st_mtime_ns)
        if len(body) != before.st_size or mark != (after.st_dev, after.st_ino, after.st_size, after.st_mtime_ns):
            raise ToolFailed(f"{shown}: it was changed while it was read.", next_step="Try again.")
        return body, mark


_READABLE = "Text in any encoding, PDF, docx, xlsx, xls and ods are."


def kind_of(name: str, body: bytes) -> str | None:
    """How the file is read: by its first bytes, else by its name; None for what is no text at all."""
    if b"%PDF-" in body[:1024]:
        return "pdf"
    suffix = PurePath(name).suffix.casefold()
    if suffix in _FORMATS:
        return _FORMATS[suffix]
    return None if b"\0" in body[:8192] and not body.startswith(_BOMS) else "text"


def told(error: OSError, shown: str) -> ToolFailed:
    """What an agent is told of it, without the way on this machine."""
    said = _SAID.get(error.errno or 0) or (error.strerror or "it cannot be read").lower()
    return ToolFailed(f"{shown}: {said}.", next_step="Call list_files to see what there is.")
