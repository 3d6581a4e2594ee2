"""The folders that agents may look into, and how they name what is in them: the folder's name, then the way below it.

Promise: agents never learn where a folder lies on this machine. A path that could mean anything but a name below an
allowed folder is refused before anything is looked for: absolute ones, `..`, hidden names, and on Windows drives,
devices and streams.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from atlas_mcp.errors import ToolFailed
from atlas_mcp.store._platform import WINDOWS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_PATH = 1_000
MAX_DEPTH = 30
_ABSOLUTE = re.compile(r"[/\\~]|[A-Za-z]:")
_DEVICES = re.compile(r"(?i)(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\..*)?")
_NO_NAME = re.compile(r'[<>:"|?*\\\x00-\x1f]|[ .]$')


@dataclass(frozen=True)
class Place:
    """A folder that is allowed, and the name that agents know it by."""

    label: str
    folder: Path


def labelled(folders: Iterable[Path]) -> tuple[Place, ...]:
    """The places, each folder once; where two have the same name, the later one gets a number."""
    seen: Counter[str] = Counter()
    made: list[Place] = []
    for folder in dict.fromkeys(folders):
        name = folder.name.lstrip(".") or "files"
        seen[name.casefold()] += 1
        count = seen[name.casefold()]
        made.append(Place(name if count == 1 else f"{name} ({count})", folder))
    return tuple(made)


def located(path: str, places: Sequence[Place]) -> tuple[Place, list[str]]:
    """The place that the path begins with, and the names below it. ToolFailed, saying what would be right."""
    label, *names = names_of(path)
    place = next((one for one in places if one.label == label), None)
    place = place or next((one for one in places if one.label.casefold() == label.casefold()), None)
    if place is None:
        raise ToolFailed(
            f"path: there is no folder {label!r} here. A path begins with one of: {_listed(places)}.",
            next_step="Call list_files without a folder to see them.",
        )
    return place, names


def names_of(path: str, *, windows: bool = WINDOWS) -> list[str]:
    """The path's names. ToolFailed for one that is empty or could lead anywhere else."""
    text = path.strip()
    if not text or len(text) > MAX_PATH:
        raise ToolFailed(f"path: it has 1 to {MAX_PATH:,} characters.")
    if _ABSOLUTE.match(text):
        raise ToolFailed("path: it must not be absolute: begin with the name of an allowed folder.")
    names = [name for name in re.split(r"[/\\]" if windows else "/", text) if name not in ("", ".")]
    if ".." in names:
        raise ToolFailed("path: '..' is refused: say the whole way from the name of an allowed folder on.")
    if not names or len(names) > MAX_DEPTH:
        raise ToolFailed(f"path: it has 1 to {MAX_DEPTH} names, with / between.")
    for name in names:
        if is_hidden(name):
            raise ToolFailed(f"path: {name!r} is hidden (its name begins with a dot), and hidden files are not read.")
        if "\0" in name or (windows and (_NO_NAME.search(name) or _DEVICES.fullmatch(name))):
            raise ToolFailed(f"path: {name!r} is no name of a file.")
    return names


def is_hidden(name: str) -> bool:
    """Whether the name says that it is not meant to be seen: settings, keys, what programs keep for themselves."""
    return name.startswith(".")


def _listed(places: Sequence[Place]) -> str:
    return ", ".join(repr(one.label) for one in places) or "none"
