"""What makes a roster consistent; each rule names the line that breaks it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from atlas_mcp.constellation.roster_groups import nearest
from atlas_mcp.constellation.tool_pools import pool_matrix
from atlas_mcp.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from atlas_mcp.constellation.roster_file import RosterFile
    from atlas_mcp.model.agent import AgentSpec, Role, Roster, TeamSpec

MAX_LEVELS = 3
"""So deep may teams stand in teams."""
ALONE: tuple[Role, ...] = ("global_supervisor", "librarian")


def role_of(name: str, stated: Role | None, teams: tuple[TeamSpec, ...], file: RosterFile) -> Role:
    """The agent's role: from its place in a team, or as stated for those who belong to none."""
    placed: Role | None = None
    if any(name == t.supervisor for t in teams):
        placed = "supervisor"
    elif any(name in t.workers for t in teams):
        placed = "worker"
    if placed and stated and stated != placed:
        raise file.broken(f"{name!r} is {stated}, and yet the {placed} of a team.", "agents", name, "role")
    role = placed or stated
    if role is None or (placed is None and role in ("supervisor", "guest")):
        allowed = "global_supervisor, librarian or worker"
        problem = f"{name!r} belongs to no team: add it to a team's workers, or state its role ({allowed})."
        raise file.broken(problem, "agents", name)
    return role


def check_teams(teams: tuple[TeamSpec, ...], names: list[str], file: RosterFile) -> None:
    """Raise BrokenRoster unless all members are agents of these names, each with one place."""
    for team in teams:
        for key, members in (("supervisor", (team.supervisor,)), ("workers", team.workers)):
            for member in members:
                if member not in names:
                    problem = f"the {key.rstrip('s')} {member!r} of team {team.name!r} is no agent"
                    raise file.broken(f"{problem}{nearest(member, names)}.", "teams", team.name, key)
        if not team.workers and not team.teams:
            raise file.broken(f"team {team.name!r} has no workers.", "teams", team.name, "workers")
    places = Counter(m for t in teams for m in (t.supervisor, *t.workers))
    for member, times in places.items():
        if times > 1:
            where = [t.name for t in teams if member in (t.supervisor, *t.workers)]
            problem = f"{member!r} has {times} places in teams ({', '.join(where)}); an agent has one."
            raise file.broken(problem, "teams", where[-1], "workers")


def check_nesting(teams: tuple[TeamSpec, ...], file: RosterFile) -> None:
    """Raise BrokenRoster unless teams within teams are working teams, each in one other, without a cycle."""
    by_name = {t.name: t for t in teams}
    for team in teams:
        for name in team.teams:
            problem = _misplaced(team, by_name.get(name), name, by_name)
            if problem:
                raise file.broken(problem, "teams", team.name, "teams")
    places = Counter(name for t in teams for name in t.teams)
    for name, times in places.items():
        if times > 1:
            where = [t.name for t in teams if name in t.teams]
            problem = f"team {name!r} belongs to {times} teams ({', '.join(where)}); it can belong to one."
            raise file.broken(problem, "teams", where[-1], "teams")
    for team in teams:
        _check_depth(team, by_name, file)


def _misplaced(team: TeamSpec, inner: TeamSpec | None, name: str, by_name: dict[str, TeamSpec]) -> str:
    """Why that team cannot stand in this one, or nothing."""
    if inner is None:
        return f"team {team.name!r}: there is no team {name!r}{nearest(name, list(by_name))}."
    if team.kind != "work" or inner.kind != "work":
        other = team if team.kind != "work" else inner
        return f"{name!r} cannot belong to team {team.name!r}: {other.name!r} is a {other.kind} team."
    return ""


def _check_depth(team: TeamSpec, by_name: dict[str, TeamSpec], file: RosterFile) -> None:
    way, below = [team.name], [team]
    while below := [by_name[name] for one in below for name in one.teams]:
        if any(one.name == team.name for one in below):
            raise file.broken(f"team {team.name!r} belongs to itself, by way of others.", "teams", team.name, "teams")
        way.append(below[0].name)
        if len(way) > MAX_LEVELS:
            problem = f"teams stand in each other more than {MAX_LEVELS} deep: {' > '.join(way)}."
            raise file.broken(problem, "teams", team.name, "teams")


def check_roster(roster: Roster, file: RosterFile) -> None:
    """Raise BrokenRoster for the first rule that the roster breaks."""
    _check_alone(roster, file)
    _check_blocks(roster, file)
    for agent in roster.agents:
        _check_agent(agent, roster, file)


def check_models(roster: Roster, file: RosterFile, read: Callable[[str], object]) -> None:
    """Raise BrokenRoster for the first model whose name cannot be read."""
    for agent in roster.agents:
        if agent.model is None:
            continue
        try:
            read(agent.model)
        except ConfigurationError as error:
            raise file.broken(f"the model of {agent.name!r}: {error}", "agents", agent.name, "model") from error


def _check_alone(roster: Roster, file: RosterFile) -> None:
    for role in ALONE:
        holders = [a.name for a in roster.agents if a.role == role]
        if not holders:
            raise file.broken(f"no agent has the role {role}: exactly one must.", "agents")
        if len(holders) > 1:
            raise file.broken(f"{' and '.join(holders)} all have the role {role}.", "agents", holders[-1], "role")


def _check_blocks(roster: Roster, file: RosterFile) -> None:
    for block in roster.blocks:
        if len(block.value) > block.limit:
            problem = f"block {block.label!r}: its value is {len(block.value):,} characters, its limit {block.limit:,}."
            raise file.broken(problem, "blocks")
    if not any(b.label == "persona" and not b.shared for b in roster.blocks):
        raise file.broken("there must be a block 'persona', not shared: it holds an agent's character.", "blocks")


def _check_agent(agent: AgentSpec, roster: Roster, file: RosterFile) -> None:
    limit = next(b.limit for b in roster.blocks if b.label == "persona")
    key = "persona" if file.line("agents", agent.name, "persona") != file.line("agents", agent.name) else "persona_file"
    if not agent.persona.strip():
        raise file.broken(f"{agent.name!r} has an empty persona.", "agents", agent.name, key)
    if len(agent.persona) > limit:
        problem = f"the persona of {agent.name!r} is {len(agent.persona):,} characters, and its block holds {limit:,}."
        raise file.broken(problem, "agents", agent.name, key)
    pools = list(pool_matrix().pools)
    for pool in agent.pools:
        if pool not in pools:
            problem = f"{agent.name!r}: there is no tool pool {pool!r}{nearest(pool, pools)}"
            problem = f"{problem}; there are {', '.join(pools)}."
            raise file.broken(problem, "agents", agent.name, "pools")
