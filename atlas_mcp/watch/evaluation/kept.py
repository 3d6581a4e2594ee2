"""Evaluations as files of the home, each whole at any moment: one that was interrupted can be gone on with."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.evaluated import NAME, Evaluation

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = "evaluations"
WORK = ".work"
"""The folder in it where variants work, each in a home of its own, which is gone afterwards."""


def folder(home: Path) -> Path:
    """Where evaluations are kept in that home, made if need be and closed to others."""
    place = home / FOLDER
    place.mkdir(mode=0o700, exist_ok=True)
    return place


def write(home: Path, evaluation: Evaluation) -> Path:
    """Keep it as it stands; a reader sees it as it was, or as it is. OSError when the disk refuses."""
    place = folder(home)
    handle, draft = tempfile.mkstemp(dir=place, suffix=".part")  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(evaluation.model_dump_json(indent=1))
        path = place / f"{evaluation.name}.json"
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
    return path


def find(home: Path, name: str) -> Evaluation | None:
    """The evaluation of that name; None if there is none. InvalidInput for what is no name, or another kind of file."""
    if not re.fullmatch(NAME, name):
        raise InvalidInput(
            f"{name!r} is no name of an evaluation.",
            argument="--name",
            next_step="Use letters, digits and . _ -, beginning with a letter or digit.",
        )
    return _read(home / FOLDER / f"{name}.json")


def read(home: Path, name: str) -> Evaluation:
    """The evaluation of that name. InvalidInput where there is none, which says which there are."""
    found = find(home, name)
    if found is None:
        names = sorted(path.stem for path in (home / FOLDER).glob("*.json"))
        raise InvalidInput(
            f"there is no evaluation {name!r}. There are: {', '.join(names) or 'none'}.",
            argument="NAME",
            allowed=names,
            next_step="Make one with: atlas-mcp eval run --name NAME",
        )
    return found


def every(home: Path) -> Iterator[Evaluation]:
    """All of them, oldest first; a file that is none is passed over."""
    found: list[Evaluation] = []
    for path in (home / FOLDER).glob("*.json"):
        try:
            one = _read(path)
        except InvalidInput:
            continue
        if one is not None:
            found.append(one)
    yield from sorted(found, key=lambda one: one.began_at)


def _read(path: Path) -> Evaluation | None:
    try:
        return Evaluation.model_validate_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, ValidationError) as error:
        raise InvalidInput(f"{path} holds no evaluation: {error}", argument="NAME") from None
