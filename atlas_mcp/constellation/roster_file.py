"""A roster file as written: read, typed, and able to say on which line a thing stands.

Promise: whatever is wrong with the file itself (not there, not TOML, an unknown key, a value of the wrong kind, a
persona file that is missing) is raised as BrokenRoster with the file and, where it can be told, the line.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError

from atlas_mcp.errors import BrokenRoster
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.agent import Level, Role, TeamKind
from atlas_mcp.model.group import Manager

if TYPE_CHECKING:
    from pathlib import Path

_SYNTAX_LINE = re.compile(r"\(at line (\d+), column \d+\)")


class BlockEntry(Frozen):
    """A `[[blocks]]` table; with a label that the extended roster has, it changes only what it names."""

    label: str
    description: str | None = None
    limit: int | None = None
    value: str | None = None
    shared: bool | None = None
    read_only: bool | None = None


class AgentEntry(Frozen):
    """An `[agents.NAME]` table. The persona stands in `persona`, or in the file that `persona_file` names."""

    role: Role | None = None
    description: str | None = None
    persona: str | None = None
    persona_file: str | None = None
    level: Level | None = None
    model: str | None = None
    pools: tuple[str, ...] | None = None
    needs: tuple[str, ...] | None = None
    turn_seconds: float | None = None


class TeamEntry(Frozen):
    """A `[teams.NAME]` table."""

    kind: TeamKind | None = None
    purpose: str | None = None
    supervisor: str | None = None
    workers: tuple[str, ...] | None = None
    teams: tuple[str, ...] | None = None


class GroupEntry(Frozen):
    """A `[groups.NAME]` table."""

    description: str | None = None
    agents: tuple[str, ...] | None = None
    manager: Manager | None = None
    notes_limit: int | None = None


class Removals(Frozen):
    """The `[remove]` table: names of the extended roster that this one does not have."""

    agents: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    blocks: tuple[str, ...] = ()


class Renamings(Frozen):
    """The `[rename.agents]`, `[rename.teams]` and `[rename.groups]` tables: old name = new name."""

    agents: dict[str, str] = Field(default_factory=dict[str, str])
    teams: dict[str, str] = Field(default_factory=dict[str, str])
    groups: dict[str, str] = Field(default_factory=dict[str, str])


class RosterEntries(Frozen):
    """The whole file."""

    name: str | None = None
    extends: Literal["default"] | None = None
    remove: Removals = Removals()
    rename: Renamings = Renamings()
    blocks: tuple[BlockEntry, ...] = ()
    agents: dict[str, AgentEntry] = Field(default_factory=dict[str, AgentEntry])
    teams: dict[str, TeamEntry] = Field(default_factory=dict[str, TeamEntry])
    groups: dict[str, GroupEntry] = Field(default_factory=dict[str, GroupEntry])


class RosterFile:
    """One file, read and typed; raises BrokenRoster."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BrokenRoster(str(path), f"cannot be read: {reason}.") from error
        self._lines = self.text.splitlines()
        try:
            self.entries = RosterEntries.model_validate(self._parsed())
        except ValidationError as error:
            raise self._mistyped(error) from error

    def persona(self, agent: str) -> str | None:
        """The agent's persona as this file gives it, from the file it names or from its own text."""
        entry = self.entries.agents[agent]
        if entry.persona_file is None:
            return entry.persona
        if entry.persona is not None:
            raise self.broken("give either persona or persona_file, not both.", "agents", agent, "persona_file")
        try:
            return (self.path.parent / entry.persona_file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            problem = f"the persona file {entry.persona_file!r} cannot be read: {reason}."
            raise self.broken(problem, "agents", agent, "persona_file") from error

    def broken(self, problem: str, *place: str | int) -> BrokenRoster:
        """The error for what stands at `place`: a table's name, then the name in it, then a key."""
        return BrokenRoster(str(self.path), problem, line=self.line(*place))

    def line(self, *place: str | int) -> int | None:
        """The line, from 1, on which `place` or the nearest table around it stands; None if it is not in the file."""
        for length in range(len(place), 0, -1):
            here = [str(p) for p in place[:length] if not isinstance(p, int)]
            nth = next((p for p in place[:length] if isinstance(p, int)), 0)
            found = self._header(here, nth) or self._key(here, nth)
            if found:
                return found
        return None

    def _header(self, names: list[str], nth: int) -> int | None:
        wanted = r"\s*\.\s*".join(_name(n) for n in names)
        header = re.compile(rf"\s*\[{{1,2}}\s*{wanted}\s*\]")
        found = [number for number, line in enumerate(self._lines, 1) if header.match(line)]
        return found[nth] if nth < len(found) else None

    def _key(self, names: list[str], nth: int) -> int | None:
        start = self._header(names[:-1], nth) if len(names) > 1 else 0
        if start is None:
            return None
        key = re.compile(rf"\s*{_name(names[-1])}\s*[=.]")
        for number, line in enumerate(self._lines[start:], start + 1):
            if key.match(line):
                return number
            if line.lstrip().startswith("["):
                return None
        return None

    def _parsed(self) -> dict[str, Any]:
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            place = _SYNTAX_LINE.search(str(error))
            line = int(place[1]) if place else len(self._lines)
            raise BrokenRoster(str(self.path), f"this is not TOML: {error}.", line=line) from error

    def _mistyped(self, error: ValidationError) -> BrokenRoster:
        first = error.errors()[0]
        place = first["loc"]
        name = ".".join(str(p) for p in place)
        if first["type"] == "extra_forbidden":
            problem = f"unknown key {str(place[-1])!r} ({name})."
        else:
            problem = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}."
        return self.broken(problem, *place)


def _name(name: str) -> str:
    return rf"[\"']?{re.escape(name)}[\"']?"
