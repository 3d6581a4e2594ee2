"""The roster with the changes in force: made anew from the roster's own file each time, so that nothing is left of a
change that is taken back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.proposal import Change


def tuned(roster: Roster, changes: Sequence[Change]) -> Roster:
    """The roster with these changes; the same object without any. What does not fit it any more changes nothing: an
    agent that is gone, or a worker who is by now the last of its team."""
    agents = {agent.name: agent for agent in roster.agents}
    teams = {team.name: team for team in roster.teams}
    for change in changes:
        agent = agents.get(change.agent)
        if agent is None:
            continue
        if change.setting == "left_out":
            for team in teams.values():
                left = tuple(name for name in team.workers if name != agent.name)
                if left and left != team.workers:
                    teams[team.name] = team.model_copy(update={"workers": left})
        elif change.setting is not None:
            value: Any = float(change.to) if change.setting == "turn_seconds" else change.to
            agents[agent.name] = agent.model_copy(update={change.setting: value})
    if not changes:
        return roster
    return roster.model_copy(update={"agents": tuple(agents.values()), "teams": tuple(teams.values())})
