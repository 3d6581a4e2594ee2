"""Looking for files by name and by what they say.

Promise: hits come in the order of the names, whatever order the disk has them in. What was left out, because there was
too much of it, is told; which names of a folder with too many are looked at is the disk's affair.
"""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING, Any

import anyio
import anyio.to_thread

from atlas_mcp.errors import ToolFailed
from atlas_mcp.reach.files.files import MOST_BYTES, Files, Found, Listed
from atlas_mcp.reach.files.places import located

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.reach.files.places import Place

MOST_FILES = 1_000
MOST_CHARS = 50_000_000
SECONDS = 40.0
_EACH_SECONDS = 10.0
_LINES_EACH = 3
_SHOWN = 300
_DOCUMENTS = (".pdf", ".docx", ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods")


async def by_name(files: Files, places: Sequence[Place], pattern: str, folder: str) -> Listed:
    """The files whose name fits the pattern, or, where it has a /, whose path does; case does not matter."""
    wanted = pattern.strip().casefold() or "*"
    if len(wanted) > _SHOWN:
        raise ToolFailed(f"name: it has at most {_SHOWN} characters.")

    def look() -> Listed:
        within = [located(folder, places)] if folder.strip() else [(place, list[str]()) for place in places]
        seen = [files.walk(place, names) for place, names in within]
        fitting = [one for each in seen for one in each.found if _fits(one, wanted)]
        return Listed(fitting, cut=any(each.cut for each in seen))

    return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)


async def by_words(
    files: Files, places: Sequence[Place], words: str, among: Sequence[Found], limit: int
) -> tuple[list[dict[str, Any]], int]:
    """Lines that have these words as they stand, of at most `limit` files; and how many files were not looked through.

    PDFs, documents and spreadsheets are read after plain texts, as far as the time goes; their hits stand where their
    names do.
    """
    wanted = " ".join(words.casefold().split())
    hits: dict[int, dict[str, Any]] = {}
    left, chars = 0, 0
    order = sorted(enumerate(among), key=lambda one: one[1].path.casefold().endswith(_DOCUMENTS))
    with anyio.move_on_after(SECONDS) as clock:
        for looked, (number, one) in enumerate(order):
            left = len(order) - looked
            if len(hits) == limit or looked == MOST_FILES or chars > MOST_CHARS:
                break
            if one.entry.size > MOST_BYTES or not one.entry.size:
                continue
            try:
                text = (await files.read(one.path, places, seconds=_EACH_SECONDS)).text
            except ToolFailed:  # it is no text, or broken: it says nothing
                continue
            chars += len(text)
            if lines := await anyio.to_thread.run_sync(_lines, text, wanted):
                hits[number] = {"path": one.path, "lines": lines}
        else:
            left = 0
    if clock.cancelled_caught and not hits and left == len(order):
        raise ToolFailed(f"nothing could be looked through within {SECONDS:g} s.", next_step="Narrow folder or name.")
    return [hits[number] for number in sorted(hits)], left


def _fits(one: Found, pattern: str) -> bool:
    subject = one.path if "/" in pattern else one.names[-1]
    return fnmatch.fnmatchcase(subject.casefold(), pattern)


def _lines(text: str, wanted: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for number, line in enumerate(text.split("\n"), 1):
        flat = " ".join(line.split())
        place = flat.casefold().find(wanted)
        if place < 0:
            continue
        begin = max(0, place - _SHOWN // 2)
        found.append({"line": number, "text": flat[begin : begin + _SHOWN]})
        if len(found) == _LINES_EACH:
            break
    return found
