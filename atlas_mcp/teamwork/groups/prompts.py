"""What agents are told in a group, word for word.

What the caller wants stands in <task>, as does what a supervisor asks of its group. What other agents said stands in
<said>, which is data: whoever can make one agent say something must not command the others by it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from atlas_mcp.model.sections import section
from atlas_mcp.teamwork.leads import lead
from atlas_mcp.teamwork.room import ROOM

if TYPE_CHECKING:
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.model.group import GroupSpec, Said

LONGEST = 16_000
"""Characters of one message that others are told; the whole stands in the conversation."""

SUMMARY = "summary"
"""Who speaks where earlier messages are summed up."""


TURN, REPLY, BROADCAST, CONCLUDE = "group_turn", "group_reply", "group_broadcast", "group_conclude"
CHOOSE, TEND, CONDENSE = "group_choose", "group_tend", "group_condense"
"""What an agent is asked here: the parts whose texts stand in `rosters/tasks`, where others may be promoted."""


def turn(group: GroupSpec, agent: str, heard: Sequence[Said]) -> str:
    """For an agent whose turn it is."""
    return _prompt(_where(group, agent), heard, lead(TURN))


def reply(group: GroupSpec, agent: str, heard: Sequence[Said]) -> str:
    """For a member that its supervisor asked."""
    closing = lead(REPLY, leader=group.managed_by)
    return _prompt(_where(group, agent), heard, closing, leader=group.managed_by)


def broadcast(group: GroupSpec, roster: Roster, heard: Sequence[Said]) -> str:
    """For a supervisor: what it says to all agents of the group."""
    closing = lead(BROADCAST, agents=_who(group, roster))
    return _prompt(_where(group, str(group.managed_by)), heard, closing)


def conclude(group: GroupSpec, heard: Sequence[Said]) -> str:
    """For a supervisor that has the answers: what it says to the caller."""
    return _prompt("Your agents answered.", heard, lead(CONCLUDE))


def choose(group: GroupSpec, roster: Roster, last: str, heard: Sequence[Said], token: str) -> str:
    """For a manager that says who speaks next."""
    others = "\n".join(line for line in _who(group, roster).splitlines() if not line.startswith(f"{last}:"))
    closing = lead(CHOOSE, agents=others, token=token)
    return _prompt(_where(group, str(group.managed_by)), heard, closing)


def front(group: GroupSpec, heard: Sequence[Said]) -> str:
    """For the agent in front of a sleeptime group: the caller's words and nothing else, as if they talked alone."""
    summed = [_shown(m, asked=False) for m in heard if m.speaker == SUMMARY]
    return "\n\n".join((*summed, *(m.text for m in heard if m.source == "caller")))


def tend(group: GroupSpec, said: Sequence[Said]) -> str:
    """For a background agent: what was said since it last looked."""
    notes = (
        f"Write what the group will need again into {group.notes_label}: it is read by all of its agents. "
        if group.notes_limit
        else ""
    )
    opening = (
        f"You read along in the group {group.name}, after the talk and out of its way. Below is what was said since "
        "you last read. Nobody waits for an answer."
    )
    return _prompt(opening, said, lead(TEND, notes=notes), all_data=True)


def condense(group: GroupSpec, earlier: str, talk: str, tokens: int) -> str:
    """For the librarian: a talk to sum up, or a piece of it, with the summary of what came before."""
    words = max(100, min(tokens // 2, 2_000))
    opening = lead(CONDENSE, group=group.name, words=words)
    before = [section("said", earlier, by=SUMMARY)] if earlier else []
    return "\n\n".join((opening, *before, section("said", talk, by="the group")))


def _where(group: GroupSpec, agent: str) -> str:
    others = ", ".join(name for name in group.everyone if name != agent)
    led = f" {group.managed_by} leads it." if group.managed_by and group.managed_by != agent else ""
    return f"You are in the group {group.name}: {group.description} With you in it: {others or 'nobody else'}.{led}"


def _who(group: GroupSpec, roster: Roster) -> str:
    return "\n".join(f"{name}: {roster.agent(name).description}" for name in group.agents)


def _prompt(
    opening: str, heard: Sequence[Said], closing: str, *, leader: str | None = None, all_data: bool = False
) -> str:
    """The whole message; of what does not fit the oldest is left out, and it says so."""
    room = ROOM - len(opening) - len(closing)
    shown: list[str] = []
    for message in reversed(heard):
        asked = not all_data and (message.source == "caller" or message.speaker == leader)
        part = _shown(message, asked=asked)
        room -= len(part) + 2
        if room < 0:
            shown.append("[What was said before this is left out.]")
            break
        shown.append(part)
    return "\n\n".join((opening, *shown[::-1], closing))


def _shown(message: Said, *, asked: bool) -> str:
    short = message.speaker == SUMMARY or len(message.text) <= LONGEST
    text = message.text if short else f"{message.text[:LONGEST]} [cut]"
    return section("task" if asked else "said", text, source=message.source, by=message.speaker)
