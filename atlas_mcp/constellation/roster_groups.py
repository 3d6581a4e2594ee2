"""Groups in rosters: what becomes of them when a roster is changed, and what makes them consistent."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from atlas_mcp.constellation.roster_file import RosterFile
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.group import GroupSpec

_Table = dict[str, Any]


def renamed(group: _Table, old: str, new: str) -> _Table:
    """The group with an agent's new name in place of its old one."""
    manager = group.get("manager", {})
    if manager.get("agent") == old:
        manager = {**manager, "agent": new}
    agents = tuple(new if a == old else a for a in group.get("agents", ()))
    return {**group, "agents": agents} | ({"manager": manager} if manager else {})


def left_of(groups: dict[str, _Table], agents: Container[str]) -> dict[str, _Table]:
    """The groups of an extended roster once agents were taken away: those that keep their manager and somebody else."""
    left: dict[str, _Table] = {}
    for name, group in groups.items():
        members = tuple(a for a in group["agents"] if a in agents)
        manager = group.get("manager", {}).get("agent")
        if members and (manager is None or manager in agents):
            left[name] = {**group, "agents": members}
    return left


def problem_of(group: GroupSpec, agents: Sequence[str], labels: Container[str]) -> tuple[str, str] | None:
    """What keeps the group from working, and the key that says it; None if nothing does.

    `agents` are the names that there are, `labels` those of the blocks that agents have anyway.
    """
    for name in group.everyone:
        if name not in agents:
            key = "agents" if name in group.agents else "manager"
            part = "member" if key == "agents" else "manager"
            return key, f"the {part} {name!r} of group {group.name!r} is no agent{nearest(name, agents)}."
    twice = [name for name in group.agents if group.agents.count(name) > 1]
    if twice:
        return "agents", f"{twice[0]!r} is named twice in group {group.name!r}."
    if group.managed_by in group.agents:
        return "manager", f"{group.managed_by!r} manages group {group.name!r} and is not one of its agents at once."
    if group.notes_limit and group.notes_label in labels:
        return "notes_limit", f"the notes of group {group.name!r} would be a second block {group.notes_label!r}."
    return None


def check_groups(roster: Roster, file: RosterFile) -> None:
    """Raise BrokenRoster for the first group that cannot work."""
    agents, labels = [a.name for a in roster.agents], [b.label for b in roster.blocks]
    for group in roster.groups:
        if found := problem_of(group, agents, labels):
            key, problem = found
            raise file.broken(problem, "groups", group.name, key)


def nearest(name: str, known: Sequence[str]) -> str:
    """A hint at the name that was probably meant."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]!r}?)" if close else ""
