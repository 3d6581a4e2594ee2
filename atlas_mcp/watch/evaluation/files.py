"""A set of examples as a file, TOML or JSON by its ending: to live in a repository, be read, and be changed by hand."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.example import ExampleSet

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_ENDINGS = (".toml", ".json")


def write(path: Path, examples: ExampleSet, *, force: bool = False) -> None:
    """Write the set. InvalidInput for another ending, a file that is there (unless `force`) or cannot be written."""
    _check(path)
    told = examples.model_dump(mode="json", exclude_defaults=True)
    text = _toml(told) if path.suffix == ".toml" else json.dumps(told, indent=2, ensure_ascii=False) + "\n"
    try:
        with path.open("w" if force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except FileExistsError:
        raise InvalidInput(
            f"{path} is there already.", argument="FILE", next_step="Choose another name, or --force."
        ) from None
    except OSError as error:
        raise _unusable(path, "written", error) from None


def read(path: Path) -> ExampleSet:
    """The set in that file. InvalidInput for one that cannot be read, with what is wrong in it, and where."""
    _check(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _unusable(path, "read", error) from None
    try:
        return ExampleSet.model_validate(tomllib.loads(text) if path.suffix == ".toml" else json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise InvalidInput(
            f"{path} is no set of examples: {place}: {first['msg']}.",
            argument="FILE",
            next_step="Nothing was imported. Compare with what `atlas-mcp eval export` writes.",
        ) from None
    except ValueError as error:
        kind = path.suffix.removeprefix(".").upper()
        raise InvalidInput(f"{path} is not {kind}: {error}.", argument="FILE", next_step="Mend the file.") from None


def _check(path: Path) -> None:
    if path.suffix not in _ENDINGS:
        raise InvalidInput(
            f"{path} ends in neither {' nor '.join(_ENDINGS)}.", argument="FILE", next_step="Name it SET.toml."
        )


def _unusable(path: Path, how: str, error: Exception) -> InvalidInput:
    reason = (getattr(error, "strerror", None) or str(error)).lower()
    return InvalidInput(f"{path} cannot be {how}: {reason}.", argument="FILE", next_step="Name another file.")


def _toml(told: Mapping[str, Any]) -> str:
    lines = [f"name = {_value(told['name'])}"]
    for example in told["examples"]:
        lines += ["", "[[examples]]"]
        tables: dict[str, Any] = {key: value for key, value in example.items() if isinstance(value, dict)}
        lines += [f"{key} = {_value(value)}" for key, value in example.items() if key not in tables]
        for key, table in cast("dict[str, dict[str, Any]]", tables).items():
            lines += ["", f"[examples.{key}]", *(f"{name} = {_value(value)}" for name, value in table.items())]
    return "\n".join(lines) + "\n"


def _value(value: Any) -> str:
    if isinstance(value, dict):
        inner = ", ".join(f"{_value(k)} = {_value(v)}" for k, v in cast("dict[str, Any]", value).items())
        return f"{{ {inner} }}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, cast('list[Any]', value)))}]"
    if isinstance(value, str) and "\n" in value and (block := _block(value)):
        return block
    # JSON's strings, numbers and booleans are TOML's, but for one character that JSON leaves as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _block(text: str) -> str:
    """A text of several lines as people read it; empty where TOML could not hold it unchanged that way."""
    odd = "'''" in text or text.endswith("'") or any(not char.isprintable() and char != "\n" for char in text)
    if odd:
        return ""
    return f"'''\n{text}'''"
