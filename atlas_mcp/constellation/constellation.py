"""One caller's constellation: the door to its agents, their turns and their memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.constellation.agents import describe_agents
from atlas_mcp.constellation.blocks import Blocks
from atlas_mcp.constellation.folder_copies import FolderCopies
from atlas_mcp.constellation.forgetting import Forgetting
from atlas_mcp.constellation.gate import Gate
from atlas_mcp.constellation.group_copies import GroupCopies
from atlas_mcp.constellation.guests import dismiss
from atlas_mcp.constellation.keeper import Keeper
from atlas_mcp.constellation.library import Library
from atlas_mcp.constellation.looked_at import LookedAt
from atlas_mcp.constellation.names import guest_tags
from atlas_mcp.constellation.recall import Recall
from atlas_mcp.constellation.removal import Removal
from atlas_mcp.constellation.threads import NEW, Threads
from atlas_mcp.constellation.turns import Turns
from atlas_mcp.constellation.visits import Visits
from atlas_mcp.memory.learnings import Learnings
from atlas_mcp.memory.relevant import Relevant
from atlas_mcp.model.agent import Roster
from atlas_mcp.reach.sources import Sources
from atlas_mcp.watch.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager

    from atlas_mcp.constellation.contract import ModelChoice, OnAnswer, OnEvent, Opening, SourceTools, ToolSession
    from atlas_mcp.guard.entering import Entering
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.memory.finding import Finder
    from atlas_mcp.model.agent import AgentInfo, AgentSpec, Warmth
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.knowledge import Recalled
    from atlas_mcp.model.memory import Block, Replacement
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.prompts.versions import Versions


class Constellation:
    """One caller's agents. Cheap to make; it holds nothing open. Agents are created in Letta when first needed.

    What works with the agents or their memory raises ConstellationMoving while the constellation is moved to another
    Letta, and once it is there: it is then found anew.

    `library` is what they share, `learnings` what their runs taught, `sources` what they were given from outside;
    `on_knowledge` is told when there is something of the library to copy to Letta. Turns pass the `gate`, which may be
    that of several constellations, and are kept within their limits by the `ledger`; their spans name the `versions` of
    the prompts that they were taken with. `entering` looks at memories before agents are given them.
    """

    def __init__(
        self,
        caller: Caller,
        roster: Roster,
        letta: Letta,
        record: Record,
        locks: Locks,
        models: ModelChoice,
        toolbox: SourceTools,
        *,
        on_knowledge: Callable[[Caller], None] | None = None,
        finder: Finder | None = None,
        gate: Gate | None = None,
        ledger: Ledger | None = None,
        versions: Versions | None = None,
        entering: Entering | None = None,
        marks: Sequence[str] = (),
    ) -> None:
        def hosting(guests: Roster, marks: Sequence[str]) -> Constellation:
            return Constellation(
                caller, guests, letta, record, locks, models, toolbox,
                on_knowledge=on_knowledge, finder=finder, gate=gate, ledger=ledger,
                versions=versions, entering=entering, marks=marks,
            )  # fmt: skip

        self._hosting = hosting
        self._letta = letta
        self._record = record
        self.caller = caller
        self.roster = roster
        self.library = Library(caller, record, on_knowledge, finder)
        self.learnings = Learnings(caller, record)
        self.remembered = LookedAt(Relevant(caller, record, finder), entering)
        self.sources = Sources(caller, record)
        self.toolbox = toolbox = toolbox.knowing(self.library)
        self.server = letta.name
        self._locks = locks
        self._models = models
        self._visits = Visits(caller, letta.name, record, locks)
        self._keeper = keeper = Keeper(caller, roster, letta, record, locks, models, toolbox, marks=marks)
        self._recall = Recall(roster, letta, record, self.library)
        self._copies = FolderCopies(letta, record, locks, self.library)
        self._threads = Threads(caller, keeper, letta, record, locks)
        self._blocks = Blocks(caller, roster, keeper, letta, record, locks, entering)
        self.group_copies = GroupCopies(caller, keeper, letta, record, locks)
        self.removal = Removal(caller, letta, record, locks)
        self.forgetting = Forgetting(caller, letta, record, self._blocks)
        self._turns = Turns(
            caller, roster, letta, record, locks, models, toolbox,
            keeper=keeper, threads=self._threads, blocks=self._blocks, gate=gate or Gate(),
            ledger=ledger or Ledger(), versions=versions,
        )  # fmt: skip

    def hosting(self, run_id: str, guests: tuple[AgentSpec, ...]) -> Constellation:
        """Agents that exist for that run only, as a constellation of their own: they share no memory with this one."""
        blocks = tuple(b for b in self.roster.blocks if b.label == "persona")
        roster = Roster(name=f"guests of {run_id}", agents=guests, teams=(), blocks=blocks)
        return self._hosting(roster, guest_tags(run_id))

    async def dismiss(self, run_id: str, *, ended: bool) -> bool:
        """Delete the agents that existed for that run only, if it has ended; whether there were any to delete."""
        async with self._visits.visit():
            return await dismiss(self.caller, self._letta, self._record, self.removal, run_id, ended=ended)

    def visit(self) -> AbstractAsyncContextManager[None]:
        """Be at work in the constellation for longer than one call: it is not moved meanwhile."""
        return self._visits.visit()

    async def list_agents(self, team: str | None = None) -> list[AgentInfo]:
        """The agents of one team, or all; asks neither Letta nor the record. UnknownTeam."""
        return describe_agents(
            self.caller, self.roster, team, locks=self._locks, models=self._models, toolbox=self.toolbox
        )

    async def thread(self, agent: str, conversation: str | None) -> str:
        """The id of a conversation with the agent: None is this client's own thread, "new" opens one.

        Raises UnknownAgent, and UnknownConversation for an id that is not one of this caller's with this agent.
        """
        self.roster.agent(agent)
        async with self._visits.visit():
            return await self._threads.resolve(agent, conversation)

    async def open_conversation(self, agent: str, *, run_id: str | None = None) -> str:
        """Open a new conversation with the agent; its id."""
        self.roster.agent(agent)
        async with self._visits.visit():
            return await self._threads.resolve(agent, NEW, run_id=run_id)

    async def take_turn(
        self,
        agent: str,
        message: str,
        *,
        conversation: str | None,
        key: str,
        run_id: str | None = None,
        tools: ToolSession | None = None,
        on_event: OnEvent | None = None,
        on_answer: OnAnswer | None = None,
        opening: Opening | None = None,
        asked_by: tuple[str, str] | None = None,
    ) -> TurnResult:
        """Send the message to the agent and wait for its answer; turns of one conversation queue.

        `conversation`: None is this client's own thread, "new" opens one, else an id. `key`: the same key is the same
        turn, whose result is given again, also after a crash. `tools` are those that the agent may use in this turn;
        None is what the toolbox gives it outside of runs. `on_event` is told of each tool call, `on_answer` of the
        result, a moment before it is given. `opening` is stored together with the beginning of the turn. `asked_by` is
        the prompt that the message was made by: its name, and its text as it was used.

        Raises UnknownAgent, UnknownConversation, InvalidInput for an empty message, OverLimit for one that is too long,
        ModelFailed when the agent's model fails, BudgetSpent when a limit has no room for it, and LettaUnavailable when
        the outcome is not known: the same key then looks for it first.
        """
        async with self._visits.visit():
            return await self._turns.take(
                agent,
                message,
                conversation=conversation,
                key=key,
                run_id=run_id,
                tools=tools,
                on_event=on_event,
                on_answer=on_answer,
                opening=opening,
                asked_by=asked_by,
            )

    async def get_memory(self, agent: str, label: str | None = None, *, history: bool = False) -> list[Block]:
        """The agent's blocks, or the one with that label; with their newest revisions if asked for.

        UnknownAgent, UnknownBlock.
        """
        async with self._visits.visit():
            return await self._blocks.get(agent, label, history=history)

    async def update_memory(
        self,
        agent: str,
        label: str,
        *,
        value: str | None = None,
        append: str | None = None,
        replace: Replacement | None = None,
        expected_revision: int | None = None,
        author: str = "caller",
    ) -> Block:
        """Change a block by exactly one of `value`, `append` (on a line of its own) and `replace`.

        Raises UnknownAgent, UnknownBlock, StaleRevision, OverLimit or InvalidInput; then nothing was changed.
        """
        async with self._visits.visit():
            return await self._blocks.update(
                agent,
                label,
                value=value,
                append=append,
                replace=replace,
                expected_revision=expected_revision,
                author=author,
            )

    async def undo_memory(self, agent: str, label: str, revision: int) -> Block:
        """Give the block the value of that revision again, as a new one.

        Raises UnknownAgent, UnknownBlock, UnknownRevision, or OverLimit when the block holds less by now.
        """
        async with self._visits.visit():
            return await self._blocks.undo(agent, label, revision)

    async def warm(self, agent: str) -> Warmth:
        """See to it that the agent is in Letta as the roster has it, and say what that took. UnknownAgent."""
        async with self._visits.visit():
            return await self._keeper.warm(agent)

    async def copy_knowledge(self) -> bool:
        """Bring the copies of the library in Letta's folder up to date; whether nothing is left to do."""
        async with self._visits.visit():
            return await self._copies.catch_up()

    async def search_memory(self, query: str, **narrowed: Any) -> Recalled:
        """What is remembered of that, best first: of one agent or all, of some kinds or all. See `Recall.search`."""
        return await self._recall.search(query, **narrowed)
