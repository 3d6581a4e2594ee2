"""One agent's turn in a group: what it is told, what it says, and what becomes of one that fails.

An agent that fails costs nobody else's turn: that it could not answer is said in the conversation by the system, and
the talk goes on. Only cancellation and the loss of the run or of the record come out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError, LockLost, RunLost, StoreUnavailable, UnknownConversation, Waiting
from atlas_mcp.guard.again import as_data, held_to, in_words
from atlas_mcp.guard.layers import About
from atlas_mcp.model.group import Said
from atlas_mcp.runs.changes import Entry, Spent
from atlas_mcp.teamwork.attempts import attempts
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.teamwork.groups.telling import told
from atlas_mcp.teamwork.held import came_to, interrupted, tool_turn
from atlas_mcp.teamwork.leads import asked_by

if TYPE_CHECKING:
    from atlas_mcp.constellation.contract import ToolSession
    from atlas_mcp.model.guard import Held
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.groups.job import GroupJob

SYSTEM = "atlas"
LONGEST_EVENT = 600
"""Characters of what was said that its event tells; the whole stands in the conversation."""


@dataclass(frozen=True, slots=True)
class Words:
    """What an agent is asked, made from what it has not heard yet; `part` names the text that asks it, if one does."""

    part: str | None
    made: Callable[[Sequence[Said]], str]


async def speak(
    job: GroupJob, agent: str, words: Words, *, key: str, upto: int, to: Sequence[str] = (), total: int = 0
) -> Said | None:
    """Let the agent take its turn and say its answer to `to`, or to everyone; None if it failed.

    It is told what was said to it since its last turn, up to message `upto`.
    """
    turn = await _taken(job, agent, words, key, upto)
    if turn is None:
        return None
    turn = await _held_to(job, key, turn)
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
    async def asked(here: str, numbered: str) -> tuple[TurnResult, ToolSession]:
        message = words.made(await told(job, agent, upto, everything=everything))
        by = asked_by(words.part) if words.part else None
        return await _turn(job, agent, message, job.meeting.thread(agent) or "new", (here, numbered), by)

    async def attempt(numbered: str) -> tuple[TurnResult, ToolSession]:
        try:
            return await asked(key, numbered)
        except UnknownConversation:  # the agent was created anew in Letta: its thread went with the old one
            job.meeting.lost(agent)
            return await asked(key, numbered)

    try:
        return await _decided(job, key, await attempts(job.run, agent, key, f"{agent} has the floor", attempt))
    except (RunLost, Waiting, StoreUnavailable, LockLost):
        raise
    except AtlasError as error:
        job.failures.append(error)
        why = shorten(str(error), 400)
    text = f"{agent} could not answer: {why}"
    await job.meeting.say(Said(number=0, source="system", speaker=SYSTEM, text=text), key=key)
    await job.run.write(Entry(agent, "worker_failed", text, key=f"{key}:failed"))
    return None


async def _held_to(job: GroupJob, key: str, turn: TurnResult) -> TurnResult:
    """The turn with what of its reply may be said, by the guard; for that the agent may be asked once more."""
    if job.guard is None:
        return turn
    about = About(
        "answer",
        name="reply",
        agent=turn.agent,
        task=job.message,
        caller=job.run.caller,
        run_id=job.run.run_id,
        spent=lambda used: job.run.tell(Spent(used)),
    )

    async def anew(prompt: str, held: Held) -> TurnResult:
        here, text = f"{key}:anew", f"{turn.agent}'s answer was not handed on"
        over = Entry(turn.agent, "turn_finished", text, turn.turn_id, {}, f"{key}:refused", f"{key}:started")
        await job.run.write(_not_passed(held, key, 1), over, Spent(turn.usage, turn.turn_id))
        asked = partial(_again, job, turn, prompt, here)
        second, _ = await attempts(job.run, turn.agent, here, f"{turn.agent} is asked for another answer", asked)
        return second

    reply = await held_to(job.guard, turn, about, anew)
    job.run.tell(*(_not_passed(held, key, number) for number, held in enumerate(reply.held, 1)))
    return reply.turns[-1].model_copy(update={"reply": reply.text})


def _not_passed(held: Held, key: str, number: int) -> Entry:
    here = f"{key}:guard:{number}"
    return Entry("atlas", "guard_failed", in_words(held), None, {**as_data(held)}, here, f"{key}:started")


async def _decided(job: GroupJob, key: str, taken: tuple[TurnResult, ToolSession]) -> TurnResult:
    """The turn, or the last of those in which its agent went on after calls that it made were decided."""
    (turn, tools), number, here = taken, 0, key
    while said := await came_to(tools):
        await job.run.write(*interrupted(turn, here, tools))
        number, here = number + 1, f"{key}:held:{number + 1}"
        going_on = partial(_again, job, turn, said, here)
        turn, tools = await attempts(job.run, turn.agent, here, f"{turn.agent} goes on", going_on)
    return turn


async def _again(job: GroupJob, turn: TurnResult, said: str, key: str, numbered: str) -> tuple[TurnResult, ToolSession]:
    return await _turn(job, turn.agent, said, turn.conversation, (key, numbered), None)


async def _turn(
    job: GroupJob,
    agent: str,
    message: str,
    conversation: str,
    keys: tuple[str, str],
    by: tuple[str, str] | None,
) -> tuple[TurnResult, ToolSession]:
    key, numbered = keys
    tools = job.agents.toolbox.session(job.agents.roster.agent(agent), None, tool_turn(job.run, key, numbered))
    turn = await job.agents.take_turn(
        agent,
        message,
        conversation=conversation,
        key=numbered,
        run_id=job.run.run_id,
        tools=tools,
        on_event=job.run.emit,
        asked_by=by,
    )
    return turn, tools


async def _close(job: GroupJob, turn: TurnResult, key: str, text: str, total: int) -> None:
    line = shorten(text, LONGEST_EVENT)
    entry = Entry(turn.agent, "turn_finished", line, turn.turn_id, {}, f"{key}:finished", f"{key}:started")
    await job.run.write(entry, *job.count(turn, total, shorten(text, 120)))
