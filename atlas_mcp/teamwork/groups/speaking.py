"""One agent's turn in a group: what it is told, what it says, and what becomes of one that fails.

An agent that fails costs nobody else's turn: that it could not answer is said in the conversation by the system, and
the talk goes on. Only cancellation and the loss of the run or of the record come out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError, LockLost, RunLost, StoreUnavailable, UnknownConversation
from atlas_mcp.model.group import Said
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork.attempts import attempts
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.groups.telling import told

if TYPE_CHECKING:
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.groups.job import GroupJob

SYSTEM = "atlas"
LONGEST_EVENT = 600
"""Characters of what was said that its event tells; the whole stands in the conversation."""
Words = Callable[[Sequence[Said]], str]
"""What an agent is asked, made from what it has not heard yet."""


async def speak(
    job: GroupJob, agent: str, words: Words, *, key: str, upto: int, to: Sequence[str] = (), total: int = 0
) -> Said | None:
    """Let the agent take its turn and say its answer to `to`, or to everyone; None if it failed.

    It is told what was said to it since its last turn, up to message `upto`.
    """
    turn = await _taken(job, agent, words, key, upto)
    if turn is None:
        return None
    new = Said(number=0, source="agent", speaker=agent, text=turn.reply, to=[*to], turn_id=turn.turn_id)
    said = await job.meeting.say(new, key=key, thread=turn.conversation, heard=upto)
    await _close(job, turn, key, f"{agent}: {turn.reply}", total)
    return said


async def think(
    job: GroupJob, agent: str, words: Words, *, key: str, upto: int, total: int = 0, everything: bool = False
) -> str | None:
    """Let the agent take its turn, and give its answer without saying it to anybody; None if it failed.

    With `everything` it is also told what was said to others.
    """
    turn = await _taken(job, agent, words, key, upto, everything=everything)
    if turn is None:
        return None
    await job.meeting.heard(agent, turn.conversation, upto)
    await _close(job, turn, key, f"{agent} considered: {shorten(turn.reply, 200)}", total)
    return turn.reply


async def _taken(
    job: GroupJob, agent: str, words: Words, key: str, upto: int, *, everything: bool = False
) -> TurnResult | None:
    async def turn(numbered: str) -> TurnResult:
        return await job.agents.take_turn(
            agent,
            words(await told(job, agent, upto, everything=everything)),
            conversation=job.meeting.thread(agent) or "new",
            key=numbered,
            run_id=job.run.run_id,
            on_event=job.run.emit,
        )

    async def attempt(numbered: str) -> TurnResult:
        try:
            return await turn(numbered)
        except UnknownConversation:  # the agent was created anew in Letta: its thread went with the old one
            job.meeting.lost(agent)
            return await turn(numbered)

    try:
        return await attempts(job.run, agent, key, f"{agent} has the floor", attempt)
    except (RunLost, StoreUnavailable, LockLost):
        raise
    except AtlasError as error:
        job.failures.append(error)
        why = shorten(str(error), 400)
    text = f"{agent} could not answer: {why}"
    await job.meeting.say(Said(number=0, source="system", speaker=SYSTEM, text=text), key=key)
    await job.run.write(Entry(agent, "worker_failed", text, key=f"{key}:failed"))
    return None


async def _close(job: GroupJob, turn: TurnResult, key: str, text: str, total: int) -> None:
    line = shorten(text, LONGEST_EVENT)
    entry = Entry(turn.agent, "turn_finished", line, turn.turn_id, {}, f"{key}:finished", f"{key}:started")
    await job.run.write(entry, *job.count(turn, total, shorten(text, 120)))
