"""The roster: which agents a constellation has, read from data.

Promise: what `load_roster` gives is consistent. There is one global supervisor and one librarian, every team has a
supervisor and at least one worker or team of its own, nobody works in two places, groups are of agents that there are,
and every persona fits its block. Anything else is BrokenRoster, with the file and the line. Nothing is loaded in part.

A roster of one's own is a TOML file like `rosters/default.toml`. With `extends = "default"` it starts from that one:
`[remove]` takes agents, teams, groups and blocks away, `[rename.agents]`, `[rename.teams]` and `[rename.groups]` give
new names, and tables then add agents, teams and groups or change single keys of those there are, by their new names.
A group of the other roster goes on without agents that are taken away, and goes with its manager.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import ValidationError

from atlas_mcp.constellation.roster_checks import check_models, check_nesting, check_roster, check_teams, role_of
from atlas_mcp.constellation.roster_file import RosterFile
from atlas_mcp.constellation.roster_groups import check_groups, left_of, renamed
from atlas_mcp.model.agent import AgentSpec, BlockSpec, Roster, TeamSpec
from atlas_mcp.model.group import GroupSpec

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT = Path(__file__).parent.parent / "rosters" / "default.toml"

_Tables = dict[str, dict[str, Any]]
_Spec = TypeVar("_Spec", AgentSpec, TeamSpec, GroupSpec, BlockSpec)


def load_roster(path: Path | None = None, *, read_model: Callable[[str], object] | None = None) -> Roster:
    """The roster in that file, or the default one. Raises BrokenRoster.

    `read_model` is asked about each model that an agent is given, and raises ConfigurationError for a wrong name.
    """
    file = RosterFile(path or DEFAULT)
    tables = _Draft(file)
    if file.entries.extends:
        tables.begin_with(RosterFile(DEFAULT))
    tables.add_own()
    roster = tables.roster()
    check_roster(roster, file)
    check_groups(roster, file)
    if read_model:
        check_models(roster, file, read_model)
    return roster


class _Draft:
    """Agents, teams, groups and blocks by name, while files are laid over each other."""

    def __init__(self, file: RosterFile) -> None:
        self.file = file
        self.agents: _Tables = {}
        self.teams: _Tables = {}
        self.groups: _Tables = {}
        self.blocks: _Tables = {}

    def begin_with(self, base: RosterFile) -> None:
        self._lay_over(base)
        for kind in ("agents", "teams", "groups", "blocks"):
            for name in getattr(self.file.entries.remove, kind):
                self._remove(kind, name)
        for kind in ("teams", "groups", "agents"):
            for old, new in getattr(self.file.entries.rename, kind).items():
                self._rename(kind, old, new)
        self.groups = left_of(self.groups, self.agents)

    def add_own(self) -> None:
        labels = [b.label for b in self.file.entries.blocks]
        for index, label in enumerate(labels):
            if label in labels[:index]:
                raise self.file.broken(f"there are two blocks {label!r}.", "blocks", index)
        self._lay_over(self.file)

    def roster(self) -> Roster:
        teams = tuple(self._made(TeamSpec, "teams", name, table) for name, table in self.teams.items())
        check_teams(teams, list(self.agents), self.file)
        check_nesting(teams, self.file)
        agents = [self._agent(name, table, teams) for name, table in self.agents.items()]
        blocks = [self._made(BlockSpec, "blocks", label, table) for label, table in self.blocks.items()]
        groups = [self._made(GroupSpec, "groups", name, table) for name, table in self.groups.items()]
        name = self.file.entries.name or self.file.path.stem
        return Roster(name=name, agents=tuple(agents), teams=teams, blocks=tuple(blocks), groups=tuple(groups))

    def _agent(self, name: str, table: dict[str, Any], teams: tuple[TeamSpec, ...]) -> AgentSpec:
        team = next((t.name for t in teams if name == t.supervisor or name in t.workers), None)
        role = role_of(name, table.get("role"), teams, self.file)
        return self._made(AgentSpec, "agents", name, table | {"team": team, "role": role})

    def _lay_over(self, file: RosterFile) -> None:
        for name, agent in file.entries.agents.items():
            given = agent.model_dump(exclude_none=True, exclude={"persona_file"})
            persona = file.persona(name)
            self.agents[name] = self.agents.get(name, {}) | given | ({"persona": persona} if persona else {})
        for name, team in file.entries.teams.items():
            self.teams[name] = self.teams.get(name, {}) | team.model_dump(exclude_none=True)
        for name, group in file.entries.groups.items():
            self.groups[name] = self.groups.get(name, {}) | group.model_dump(exclude_none=True)
        for block in file.entries.blocks:
            given = block.model_dump(exclude_none=True, exclude={"label"})
            self.blocks[block.label] = self.blocks.get(block.label, {}) | given

    def _remove(self, kind: str, name: str) -> None:
        tables: _Tables = getattr(self, kind)
        if name not in tables:
            raise self.file.broken(f"there is no {kind[:-1]} {name!r} to remove.", "remove", kind)
        removed = tables.pop(name)
        if kind == "teams":
            for agent in (removed["supervisor"], *removed.get("workers", ())):
                self.agents.pop(agent, None)
            self._each_within(lambda names: tuple(n for n in names if n != name))
        if kind == "agents":
            for team in self.teams.values():
                team["workers"] = tuple(w for w in team.get("workers", ()) if w != name)

    def _rename(self, kind: str, old: str, new: str) -> None:
        tables: _Tables = getattr(self, kind)
        if old not in tables:
            raise self.file.broken(f"there is no {kind[:-1]} {old!r} to rename.", "rename", kind, old)
        if new in tables:
            raise self.file.broken(f"the name {new!r} is taken: it cannot be {old!r}'s new one.", "rename", kind, old)
        setattr(self, kind, {new if name == old else name: table for name, table in tables.items()})
        if kind == "teams":
            self._each_within(lambda names: tuple(new if n == old else n for n in names))
        if kind == "agents":
            for team in self.teams.values():
                team["supervisor"] = new if team["supervisor"] == old else team["supervisor"]
                team["workers"] = tuple(new if w == old else w for w in team.get("workers", ()))
            self.groups = {name: renamed(group, old, new) for name, group in self.groups.items()}

    def _each_within(self, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> None:
        """Change which teams stand in other ones."""
        for team in self.teams.values():
            if "teams" in team:
                team["teams"] = change(team["teams"])

    def _made(self, kind: type[_Spec], table: str, name: str, given: dict[str, Any]) -> _Spec:
        try:
            return kind.model_validate(given | {"label" if kind is BlockSpec else "name": name})
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(p) for p in first["loc"])
            missing = first["type"] == "missing"
            problem = f"{table[:-1]} {name!r} " + (f"has no {key}." if missing else f"{key}: {first['msg']}.")
            raise self.file.broken(problem, *self._place(table, name), *first["loc"][:1]) from error

    def _place(self, table: str, name: str) -> tuple[str | int, ...]:
        if table != "blocks":
            return (table, name)
        labels = [b.label for b in self.file.entries.blocks]
        return ("blocks", labels.index(name)) if name in labels else ("blocks",)
