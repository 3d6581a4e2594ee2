"""Agents that exist for one run only: made when they first speak, with the smallest pool of tools, gone at its end.

They have a persona and nothing else: no shared memory, no knowledge to add to. In Letta they carry the run's tag, so
that they are found and deleted also when the process that made them died. What they leave is what the librarian keeps.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.constellation.guests import GUESTS
from atlas_mcp.constellation.names import guest_name
from atlas_mcp.errors import AtlasError
from atlas_mcp.model.agent import AgentSpec
from atlas_mcp.model.plan import Plan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.constellation.contract import Tools
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.memory import Block
    from atlas_mcp.model.plan import Debater
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.contract import Agents, Given, Memory, Remembered
    from atlas_mcp.teamwork.job import Job

PERSONA_CHARS = 1_500
DISMISS_SECONDS = 15.0
"""For a Letta that hangs; a loaded one needs a second for each agent."""
_UNFIT = re.compile(r"[^a-z0-9]+")


def plain(name: str) -> str:
    """The name as agents are called: small letters, digits and _."""
    fit = _UNFIT.sub("_", name.casefold()).strip("_")[:40]
    return fit if fit[:1].isalpha() else f"d_{fit}".rstrip("_")


def speaker(run_id: str, debater: Debater) -> str:
    """The agent that speaks for the debater: one of the roster's, or the run's own."""
    return guest_name(run_id, plain(debater.name)) if debater.persona.strip() else debater.name


def guests(run_id: str, debaters: Sequence[Debater]) -> tuple[AgentSpec, ...]:
    """The agents to be made for this run alone."""
    return tuple(
        AgentSpec(
            name=speaker(run_id, one),
            role="guest",
            description=f"{one.name}, a voice in a debate.",
            persona=f"I am {one.name}. {one.persona.strip()}"[:PERSONA_CHARS],
        )
        for one in debaters
        if one.persona.strip()
    )


class Company:
    """A constellation together with the agents of one run."""

    def __init__(self, agents: Agents, run_id: str, own: tuple[AgentSpec, ...]) -> None:
        self._agents = agents
        self._names = {one.name for one in own}
        self._guests = agents.hosting(run_id, own)
        self.roster: Roster = agents.roster.model_copy(update={"agents": (*agents.roster.agents, *own)})

    @property
    def toolbox(self) -> Tools:
        """The tools there are."""
        return self._agents.toolbox

    @property
    def remembered(self) -> Remembered:
        """What is remembered, for those who may be given it."""
        return self._agents.remembered

    @property
    def learnings(self) -> Memory:
        """What the constellation learned."""
        return self._agents.learnings

    @property
    def sources(self) -> Given:
        """What agents were given from outside."""
        return self._agents.sources

    async def get_memory(self, agent: str) -> Sequence[Block]:
        """The blocks of an agent of the constellation."""
        return await self._agents.get_memory(agent)

    def hosting(self, run_id: str, own: tuple[AgentSpec, ...]) -> Agents:
        """Further agents of a run."""
        return self._agents.hosting(run_id, own)

    async def dismiss(self, run_id: str, *, ended: bool) -> bool:
        """See `Agents.dismiss`."""
        return await self._agents.dismiss(run_id, ended=ended)

    async def take_turn(self, agent: str, message: str, **given: Any) -> TurnResult:
        """A turn with one of them."""
        return await (self._guests if agent in self._names else self._agents).take_turn(agent, message, **given)


async def seat(job: Job) -> Plan:
    """The plan, with the agents it describes at hand; nothing is made in Letta before one of them has to speak."""
    plan = await job.value("plan", Plan)
    own = guests(job.run.run_id, plan.debaters)
    if own and not isinstance(job.agents, Company):
        job.agents = Company(job.agents, job.run.run_id, own)
    return plan


async def dismiss(job: Job, *, ended: bool) -> None:
    """Delete the run's own agents, if it has any. `ended` says that it is over; else that is looked up first.

    What cannot be deleted now is deleted by the sweep at the next start.
    """
    if GUESTS not in job.texts and not job.run.resumed:
        return  # whoever named any did so in this process
    with anyio.CancelScope(shield=True), anyio.move_on_after(DISMISS_SECONDS):
        try:
            if await job.find(GUESTS) is not None:
                await job.agents.dismiss(job.run.run_id, ended=ended)
        except AtlasError:
            return
