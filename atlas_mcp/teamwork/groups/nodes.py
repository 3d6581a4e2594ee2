"""What the nodes of a group's graph do: who is chosen, who speaks, and when it is over.

Each gives what changes in the state. A node that runs again after a crash asks with the same keys: turns that were
finished are given again, and what was said is not said twice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from atlas_mcp.model.group import Dynamic, RoundRobin, Said, Stop
from atlas_mcp.runs.changes import Entry
from atlas_mcp.teamwork import guards
from atlas_mcp.teamwork.groups import prompts
from atlas_mcp.teamwork.groups.speaking import Words, speak, think

if TYPE_CHECKING:
    from atlas_mcp.teamwork.groups.job import GroupJob
    from atlas_mcp.teamwork.groups.state import Asked, State

CALLER = "caller"
NOTHING_LEFT = Stop(pattern="stuck", reason="nobody had anything left to answer.")


async def open_floor(job: GroupJob, state: State) -> dict[str, Any]:
    """The caller's message is said: to everyone, or to the manager where that one answers for the group."""
    to = [] if isinstance(job.group.manager, RoundRobin | Dynamic) else [str(job.group.managed_by)]
    asked = Said(number=0, source="caller", speaker=CALLER, text=job.message, to=to)
    said = await job.meeting.say(asked, key=f"{job.run.run_id}:caller")
    return {"last": said.number, "turns": 0, "silent": 0, "speaker": "", "stop": None}


async def take_floor(job: GroupJob, state: State) -> dict[str, Any]:
    """The next speaker speaks: the one that was chosen, or the next of the list."""
    turns = state["turns"]
    chosen = isinstance(job.group.manager, Dynamic)
    agent = state["speaker"] if chosen else job.members[turns % len(job.members)]
    key, upto, silent = job.key(turns, agent), state["last"], state["silent"] + 1
    update: dict[str, Any] = {"turns": turns + 1, "speaker": agent, "silent": silent}
    if not any(guards.may_answer(agent, m) for m in job.meeting.unheard(agent, upto)):
        text = f"{agent} was not given the floor: nothing was said that it could answer."
        await job.run.write(Entry("atlas", "turn_skipped", text, key=f"{key}:skipped"))
        return update | ({"stop": NOTHING_LEFT.model_dump()} if silent >= len(job.members) else {})
    words = Words(prompts.TURN, partial(prompts.turn, job.group, agent))
    said = await speak(job, agent, words, key=key, upto=upto, total=most_turns(job))
    newest = job.meeting.messages[-1].number
    if said is None:
        return {**update, "last": newest, **({"turns": most_turns(job)} if job.spent else {})}
    stop = guards.check(job.meeting.messages)
    token = job.group.manager.termination_token if isinstance(job.group.manager, Dynamic) else None
    done = {"turns": most_turns(job)} if token and token in said.text else {}
    return {**update, "last": newest, "silent": 0, "stop": stop.model_dump() if stop else None, **done}


async def choose(job: GroupJob, state: State) -> dict[str, Any]:
    """The manager says who speaks next, or that it is settled. Where it names nobody, who was silent longest does."""
    manager = job.group.manager
    if not isinstance(manager, Dynamic):
        raise TypeError("only a dynamic manager chooses")
    last, token = state["speaker"], manager.termination_token
    able = [name for name in job.members if name != last] or list(job.members)
    key = job.key(state["turns"], manager.agent)

    def words(heard: Sequence[Said]) -> str:
        return prompts.choose(job.group, job.agents.roster, last, heard, token)

    asking = Words(prompts.CHOOSE, words)
    answer = await think(job, manager.agent, asking, key=key, upto=state["last"], total=most_turns(job))
    if job.spent:
        return {"turns": most_turns(job)}
    if answer is not None and token in answer:
        await job.run.write(Entry(manager.agent, "settled", f"{manager.agent} calls it settled.", key=f"{key}:settled"))
        return {"turns": most_turns(job)}
    found = named(answer or "", able)
    if found is None:
        found = silent_longest(able, job.meeting.messages)
        text = f"{manager.agent} named nobody who can speak: {found} has the floor, who was silent longest."
        await job.run.write(Entry("atlas", "speaker_not_found", text, key=f"{key}:nobody"))
    return {"speaker": found, "last": job.meeting.messages[-1].number}


async def broadcast(job: GroupJob, state: State) -> dict[str, Any]:
    """The supervisor says to all agents what it asks of them."""
    agent = str(job.group.managed_by)

    def words(heard: Sequence[Said]) -> str:
        return prompts.broadcast(job.group, job.agents.roster, heard)

    total = len(job.members) + 2
    asking = Words(prompts.BROADCAST, words)
    said = await speak(job, agent, asking, key=job.key(0, agent), upto=state["last"], to=job.members, total=total)
    if said is None:
        raise job.failures[-1]
    return {"last": said.number, "turns": 1}


async def answer_supervisor(job: GroupJob, asked: Asked) -> dict[str, Any]:
    """One agent answers what its supervisor asked."""
    agent, total = asked["agent"], len(job.members) + 2
    words = Words(prompts.REPLY, partial(prompts.reply, job.group, agent))
    to = [str(job.group.managed_by)]
    await speak(job, agent, words, key=job.key(1, agent), upto=asked["last"], to=to, total=total)
    return {"last": job.meeting.messages[-1].number}


async def answer_caller(job: GroupJob, state: State) -> dict[str, Any]:
    """The one who answers for the group does: a supervisor from what it was told, the agent in front by itself."""
    agent, front = str(job.group.managed_by), job.group.manager.type == "sleeptime"
    alone, concluding = Words(None, partial(prompts.front, job.group)), partial(prompts.conclude, job.group)
    words = alone if front else Words(prompts.CONCLUDE, concluding)
    key = job.key(state["turns"] + 1, agent)
    said = await speak(job, agent, words, key=key, upto=state["last"], to=[CALLER], total=1)
    if said is None and job.spent:
        return {"turns": state["turns"] + 1}  # what the others said stands
    if said is None:
        raise job.failures[-1]
    return {"last": said.number, "turns": state["turns"] + 1}


def most_turns(job: GroupJob) -> int:
    """How many turns the group's agents may have on one message: as configured, or one each."""
    manager = job.group.manager
    given = manager.max_turns if isinstance(manager, RoundRobin | Dynamic) else None
    return given or len(job.members)


def named(answer: str, names: Sequence[str]) -> str | None:
    """Which of the names the answer gives: the last that stands in it as a word of its own."""
    found = {name: [m.start() for m in re.finditer(rf"(?<!\w){re.escape(name)}(?!\w)", answer, re.IGNORECASE)]
             for name in names}  # fmt: skip
    there = {name: places[-1] for name, places in found.items() if places}
    return max(there, key=lambda name: there[name]) if there else None


def silent_longest(names: Sequence[str], messages: Sequence[Said]) -> str:
    """Who of these has not spoken for longest; of those who never did, the first of the list."""
    last = {m.speaker: m.number for m in messages}
    return min(names, key=lambda name: last.get(name, 0))
