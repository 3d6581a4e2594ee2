"""Scenarios read from their files. A mistake names the file, the key, and what would be right."""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from pydantic import BaseModel, ValidationError

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.scenario import NAME, Given, Scenario

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pydantic_core import ErrorDetails

SHIPPED = Path(__file__).parent.parent / "data" / "scenarios"
MAX_BYTES = 8_000_000


def shipped() -> list[Path]:
    """The files of the scenarios that come with ATLAS."""
    return sorted(SHIPPED.glob("*.toml"))


def read_scenario(path: Path) -> Scenario:
    """The scenario in that file, with the texts of its materials in it. InvalidInput, see the module."""
    told = _toml(path)
    stem = re.sub(r"[^a-z0-9_.-]", "-", path.stem.lower())
    told.setdefault("name", stem if re.fullmatch(NAME, stem) else "scenario")
    try:
        found = Scenario.model_validate(told)
    except ValidationError as error:
        problem = _problem(error.errors()[0], told)
        raise _wrong(path, problem, "Mend that; see docs/scenarios.md for what may stand there.") from None
    work = tuple(
        piece.model_copy(update={"materials": tuple(_with_text(path, given) for given in piece.materials)})
        for piece in found.work
    )
    roster = str((path.parent / found.roster).absolute()) if found.roster else None
    if roster and not Path(roster).is_file():
        raise _wrong(path, f"roster: there is no file {found.roster!r} beside it")
    return found.model_copy(update={"work": work, "roster": roster})


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise _wrong(path, f"it is no TOML: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"it cannot be read: {_reason(error)}", "Name a scenario's file.") from None


def _with_text(path: Path, given: Given) -> Given:
    if given.file is None:
        return given
    try:
        text = _text(path.parent / given.file)
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(path, f"the material {given.name!r}: {given.file} cannot be read: {_reason(error)}") from None
    return given.model_copy(update={"text": text, "file": None})


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise OSError(0, f"it has more than {MAX_BYTES:,} bytes")
    return path.read_text(encoding="utf-8")


def _problem(error: ErrorDetails, told: Mapping[str, Any]) -> str:
    """The mistake in words: where it is, what it is, and what was perhaps meant."""
    place, known = error["loc"], _known(error["loc"])
    where = ", ".join(_counted(place))
    if error["type"] == "extra_forbidden":
        close = get_close_matches(str(place[-1]), known, n=1, cutoff=0.6)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{where}: there is no such key; {hint}there are {', '.join(known)}"
    said = error["msg"].removeprefix("Value error, ")
    value: Any = _at(told, place)
    shown = f" (it is {value!r})" if isinstance(value, str | int | float | bool) else ""
    return f"{where + ': ' if where else ''}{said}{shown}"


def _counted(place: Sequence[int | str]) -> list[str]:
    """The keys on the way, lists counted from 1: `work 2`, `expect`, `events 1`."""
    said: list[str] = []
    for step in place:
        if isinstance(step, int) and said:
            said[-1] += f" {step + 1}"
        else:
            said.append(str(step))
    return said


def _known(place: Sequence[int | str]) -> list[str]:
    """The keys that there are where that one stands."""
    model: type[BaseModel] = Scenario
    for step in place[:-1]:
        if isinstance(step, int):
            continue
        field = model.model_fields.get(step)
        inner = _model_in(field.annotation) if field else None
        if inner is None:
            return []
        model = inner
    return [*model.model_fields]


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for one in get_args(annotation) if (found := _model_in(one))), None)


def _at(told: Any, place: Sequence[int | str]) -> Any:
    for step in place:
        try:
            told = told[step]
        except (KeyError, IndexError, TypeError):
            return None
    return told


def _reason(error: Exception) -> str:
    return (getattr(error, "strerror", None) or str(error)).lower()


def _wrong(path: Path, problem: str, step: str = "Mend the file.") -> InvalidInput:
    return InvalidInput(f"{path} is no scenario: {problem}.", argument="FILE", next_step=step)
