"""Groups as Letta's own servers list them, so that they are seen there. No Letta since 0.12 runs them: ATLAS does.

letta-client has no groups any more, so these are raw requests. A group is never shown as `sleeptime`: a Letta server
deletes the background agents of such a group together with the agent in front, and ATLAS' groups only refer to agents.
Its shared block is not named: Letta would attach it a second time, and fail; the agents have it already.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.errors import LettaLost
from atlas_mcp.letta.faults import exchange

if TYPE_CHECKING:
    from letta_client import AsyncLetta

    from atlas_mcp.model.group import GroupSpec

PATH = "/v1/groups/"


class LettaGroups:
    """The groups of one Letta; ask `Abilities.groups` first whether it has any."""

    def __init__(self, client: AsyncLetta) -> None:
        self._client = client

    async def create(self, group: GroupSpec, agents: dict[str, str]) -> str:
        """Show the group there; its id. `agents` are Letta's ids by the agents' names."""
        with exchange():
            made: Any = await self._client.post(PATH, cast_to=object, body=_body(group, agents))
        return str(made["id"])

    async def update(self, group_id: str, group: GroupSpec, agents: dict[str, str]) -> None:
        """Make what Letta shows what the group is now; its kind of manager cannot change. LettaLost if it is gone."""
        with exchange():
            await self._client.patch(f"{PATH}{group_id}", cast_to=object, body=_body(group, agents))

    async def find(self, group_id: str) -> dict[str, Any] | None:
        """The group as Letta has it; None if it is gone."""
        try:
            with exchange():
                return cast("dict[str, Any]", await self._client.get(f"{PATH}{group_id}", cast_to=object))
        except LettaLost:
            return None

    async def delete(self, group_id: str) -> None:
        """Take the group away there, if it is there; its agents stay."""
        try:
            with exchange():
                await self._client.delete(f"{PATH}{group_id}", cast_to=object)
        except LettaLost:
            return


def shown_manager(group: GroupSpec, agents: dict[str, str]) -> dict[str, Any]:
    """The manager as Letta is told of it."""
    manager = group.manager
    if manager.type == "supervisor":
        return {"manager_type": "supervisor", "manager_agent_id": agents[manager.agent]}
    if manager.type == "dynamic":
        return {
            "manager_type": "dynamic",
            "manager_agent_id": agents[manager.agent],
            "max_turns": manager.max_turns or len(group.agents),
            "termination_token": manager.termination_token,
        }
    turns = (manager.max_turns if manager.type == "round_robin" else None) or len(group.agents)
    return {"manager_type": "round_robin", "max_turns": turns}


def _body(group: GroupSpec, agents: dict[str, str]) -> dict[str, Any]:
    named = group.everyone if group.manager.type == "sleeptime" else group.agents
    return {
        "agent_ids": [agents[name] for name in named],
        "description": f"{group.name}: {group.description}",
        "manager_config": shown_manager(group, agents),
    }
