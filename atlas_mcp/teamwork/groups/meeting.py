"""One conversation of a group, in the hands of the run that talks in it.

What is said is written down at once, with the thread of its speaker and what that speaker had been told: all of it or
nothing. Nobody else writes in it meanwhile, for the run holds the conversation's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.group import Said
from atlas_mcp.teamwork.groups import rows

if TYPE_CHECKING:
    from atlas_mcp.store.record import Record

MOST = 400
"""Messages of a conversation that are looked at; an agent that comes to an older one is told the newest of them."""


class Meeting:
    """The conversation; made by `open_meeting`. `server` names the Letta that its agents' threads are on."""

    def __init__(
        self,
        record: Record,
        conversation: str,
        run_id: str,
        server: str,
        messages: list[Said],
        threads: dict[str, tuple[str, int]],
    ) -> None:
        self.conversation = conversation
        self.messages = messages
        self._record = record
        self._run_id = run_id
        self._server = server
        self._threads = threads

    def thread(self, agent: str) -> str | None:
        """The agent's own thread in Letta, or None when it has not spoken here yet."""
        return self._threads[agent][0] if agent in self._threads else None

    def lost(self, agent: str) -> None:
        """The agent's thread is gone, and with it what the agent was told."""
        self._threads.pop(agent, None)

    def unheard(self, agent: str, upto: int, *, everything: bool = False) -> list[Said]:
        """What was said to the agent since its last turn, up to that message, without its own words; with `everything`
        also what was said to others."""
        heard = self._threads[agent][1] if agent in self._threads else 0
        there = (m for m in self.messages if heard < m.number <= upto)
        return [m for m in there if m.speaker != agent and (everything or not m.to or agent in m.to)]

    async def heard(self, agent: str, thread: str, upto: int) -> None:
        """The agent was told all up to that message, in this thread of its own, and said nothing."""
        async with self._record.write() as db:
            await rows.set_thread(db, self.conversation, self._server, agent, thread, upto)
        self._threads[agent] = (thread, upto)

    async def say(self, said: Said, *, key: str, thread: str | None = None, heard: int = 0) -> Said:
        """Write the message down, once for its key; with `thread`, also that its speaker has `heard` so much."""
        async with self._record.write() as db:
            made = await rows.add(db, self.conversation, self._run_id, key, said)
            if thread:
                await rows.set_thread(db, self.conversation, self._server, said.speaker, thread, heard)
        if thread:
            self._threads[said.speaker] = (thread, heard)
        if all(m.number != made.number for m in self.messages):
            self.messages.append(made)
            self.messages.sort(key=lambda m: m.number)
        return made


async def open_meeting(record: Record, conversation: str, run_id: str, server: str) -> Meeting:
    """The conversation as the record has it."""
    async with record.read() as db:
        messages = await rows.newest(db, conversation, MOST)
        threads = await rows.threads(db, conversation, server)
    return Meeting(record, conversation, run_id, server, messages, threads)
