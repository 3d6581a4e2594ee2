"""The second tier of sleeptime groups: whether the background agents have something to do, and their turns.

The first tier is a rule that costs nothing: so many messages of the caller's, or so much time and a message. Only when
it says so a run of its own is submitted, in which the background agents read what was said since they last did and tend
the memory. Nobody waits for that run, and what it says is said to nobody: it stands in the run's journal.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from atlas_mcp.errors import AtlasError
from atlas_mcp.model.group import Said, Sleeptime
from atlas_mcp.runs.outcome import RunOutcome
from atlas_mcp.teamwork.groups import prompts
from atlas_mcp.teamwork.groups.speaking import Words, think

if TYPE_CHECKING:
    from atlas_mcp.teamwork.groups.job import GroupJob


def due(manager: Sleeptime, untended: Sequence[Said], since: datetime, now: datetime) -> bool:
    """Whether the background agents are to read these messages, which came since they last were given some to read."""
    asked = sum(m.source == "caller" for m in untended)
    return asked >= manager.frequency or (asked > 0 and (now - since).total_seconds() >= manager.seconds)


async def tend(job: GroupJob, upto: int) -> RunOutcome:
    """Let every background agent read what was said since its last turn, up to that message, and tend the memory.

    The same messages are read once, also when the run that has them read was submitted twice.
    """
    done: list[str] = []
    for agent in job.members:
        key = f"{job.meeting.conversation}:{upto}:{agent}"

        words = Words(prompts.TEND, partial(prompts.tend, job.group))
        if answer := await think(job, agent, words, key=key, upto=upto, total=len(job.members), everything=True):
            done.append(f"{agent}: {answer}")
    if not done:
        raise job.failures[-1] if job.failures else AtlasError("no background agent took a turn.")
    return RunOutcome(reply="\n\n".join(done))
