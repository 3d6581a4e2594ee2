"""What stands in deploy/, read as the container tools read it, so that it can be checked and run without them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::([?-])([^}]*))?\})")


class Unset(Exception):
    """Raised for a variable that must be set, with what the file says about it."""


def compose_text() -> str:
    return (DEPLOY / "compose.yaml").read_text(encoding="utf-8")


def compose(variables: Mapping[str, str]) -> dict[str, Any]:
    """The compose file with its variables filled in. Raises Unset."""
    return _filled(yaml.safe_load(compose_text()), variables)


def _filled(value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_filled(inner, variables) for inner in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        dollar, name, kind, text = match.groups()
        if dollar:
            return "$"
        given = variables.get(name, "")
        if not given and kind == "?":
            raise Unset(f"{name}: {text}")
        return given or (text if kind == "-" else "")

    return _VARIABLE.sub(fill, value)


def environment(service: dict[str, Any], variables: Mapping[str, str]) -> dict[str, str]:
    """The service's environment; a name without a value is passed on if it is set."""
    given: dict[str, Any] = service.get("environment", {})
    passed = {name: variables[name] for name, value in given.items() if value is None and name in variables}
    return {name: value for name, value in given.items() if value is not None} | passed


@dataclass(frozen=True)
class Instruction:
    """One instruction of a Dockerfile; `flags` are those before its arguments."""

    name: str
    flags: tuple[str, ...]
    text: str

    @property
    def words(self) -> list[str]:
        """Its arguments: of the exec form the list, else as a shell parts them."""
        return json.loads(self.text) if self.text.startswith("[") else shlex.split(self.text)


def dockerfile() -> list[list[Instruction]]:
    """The Dockerfile's stages, each as its instructions, FROM first."""
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("#"))
    stages: list[list[Instruction]] = []
    for line in re.sub(r"\\\n\s*", "", lines).splitlines():
        if not line.strip():
            continue
        name, rest = line.split(maxsplit=1)
        flags: list[str] = []
        while rest.startswith("--"):
            flag, rest = rest.split(maxsplit=1)
            flags.append(flag)
        if name == "FROM":
            stages.append([])
        stages[-1].append(Instruction(name, tuple(flags), rest))
    return stages


def only(stage: list[Instruction], name: str) -> Instruction:
    """The stage's one instruction of that name."""
    (found,) = [i for i in stage if i.name == name]
    return found
