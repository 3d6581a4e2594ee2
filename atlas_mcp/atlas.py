"""ATLAS for one home folder: the composition root, and the API for programs that embed it.

    async with open_atlas(load_settings()) as atlas:
        reply = await atlas.chat(atlas.local_caller(), "librarian", "What do you remember?")

Opening is cheap: the rooms behind it (record, Letta, runs) open on the first call that needs them, or at once when an
earlier process left work unfinished. Whatever a call starts belongs to Atlas, not to the call: a chat or a team task
that outlives its call goes on, and `get_run` finds it. Every method takes the caller first, and what belongs to another
caller does not exist. All that is refused or fails knowingly is an AtlasError.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

from atlas_mcp import __version__
from atlas_mcp._access import Access
from atlas_mcp._auditing import Auditing
from atlas_mcp._facts import Facts
from atlas_mcp._feedback import FeedbackDesk
from atlas_mcp._groups import Groups
from atlas_mcp._history import open_history
from atlas_mcp._keeper import RoomsKeeper, open_rooms
from atlas_mcp._memories import Remembering
from atlas_mcp._naming import Names
from atlas_mcp._outputs import Outputs
from atlas_mcp._pages import letta_app, open_traces_page, prune_traces
from atlas_mcp._refusing import refusing
from atlas_mcp._team_tasks import check_task
from atlas_mcp._waiting import MAX_WAIT_SECONDS, bounded, deadline_of, follow, noted
from atlas_mcp.constellation.agents import describe_agents
from atlas_mcp.constellation.warming import warm_all
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.run import ENDED, Event, Run
from atlas_mcp.watch.calls import CallTracing

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
    from typing import Unpack

    from atlas_mcp._improving import Improving, open_improving
    from atlas_mcp._looking import look_at
    from atlas_mcp._portable import Portable
    from atlas_mcp._prompts import Prompts, open_prompts
    from atlas_mcp._ratings import Call
    from atlas_mcp.constellation.warming import Tell
    from atlas_mcp.model.agent import AgentInfo
    from atlas_mcp.model.forgetting import Forgotten, Purged, Target
    from atlas_mcp.model.group import GroupReply
    from atlas_mcp.model.knowledge import Document, Recalled
    from atlas_mcp.model.memory import Block, Replacement
    from atlas_mcp.model.rating import TextRating
    from atlas_mcp.model.run import RunStatus
    from atlas_mcp.model.server import ServerInfo
    from atlas_mcp.model.status import Status
    from atlas_mcp.model.task import TeamTask
    from atlas_mcp.model.turn import ChatReply
    from atlas_mcp.settings import Settings

    OnEvent = Callable[[Event], Awaitable[None]]
    OnNews = Callable[[Run], Awaitable[None]]
    OnRun = Callable[[str], None]

__all__ = [
    "MAX_WAIT_SECONDS",
    "Atlas",
    "Improving",
    "Prompts",
    "letta_app",
    "look_at",
    "open_atlas",
    "open_history",
    "open_improving",
    "open_prompts",
    "open_traces_page",
    "prune_traces",
    "refusing",
]

_IMPROVING, _PROMPTS = ("Improving", "open_improving"), ("Prompts", "open_prompts")
_LATER = {"look_at": "_looking", **dict.fromkeys(_IMPROVING, "_improving"), **dict.fromkeys(_PROMPTS, "_prompts")}


def __getattr__(name: str) -> Any:  # what only some commands need is imported when asked for: the server starts sooner
    if name in _LATER:
        return getattr(import_module(f"atlas_mcp.{_LATER[name]}"), name)
    raise AttributeError(name)


@asynccontextmanager
async def open_atlas(settings: Settings) -> AsyncGenerator[Atlas]:
    """ATLAS on the settings' home folder, until the block is left; what is unfinished then goes on at the next start.

    Raises UnwritableHome, BrokenRoster, UnknownModel, MissingKey or MissingPackage before anything is opened.
    """
    async with open_rooms(settings) as keeper:
        yield Atlas(settings, keeper)


class Atlas:
    """One home folder's agents, teams, memory and runs. Made by `open_atlas`."""

    def __init__(self, settings: Settings, keeper: RoomsKeeper) -> None:
        self.settings = settings
        self._keeper = keeper
        self.version = __version__
        self.access = Access(keeper)
        self.audit = Auditing(keeper)
        self.groups = Groups(keeper)
        self.names = Names(keeper, self.groups)
        self.news = keeper.news
        self.memories = Remembering(keeper, self.groups)
        self.facts = Facts(keeper)
        self.feedback = FeedbackDesk(keeper)
        self.outputs = Outputs(keeper)

    # -- who is asking

    def local_caller(self, client: str = "") -> Caller:
        """The home's own caller: whoever can start ATLAS on this home folder."""
        return Caller(id=f"local:{self._keeper.home.local_id}", kind="local", client=client)

    def tracing_of(self, caller_id: Callable[[Any], str]) -> CallTracing:
        """What a server runs each request through: every tool call becomes a trace of its caller's."""
        return CallTracing(caller_id)

    # -- agents

    async def list_agents(self, caller: Caller, team: str | None = None) -> list[AgentInfo]:
        """The constellation's agents, of one team or all. UnknownTeam lists the teams."""
        k, roster = self._keeper, await self.groups.roster(caller)
        return describe_agents(caller, roster, team, locks=k.locks, models=k.models, toolbox=k.toolbox)

    async def warm(self, caller: Caller, tell: Tell) -> None:
        """Create all agents ahead, or bring them up to date; `tell` hears of each what it took, or what failed."""
        rooms = await self._keeper.rooms()
        await warm_all(await rooms.constellation(caller), tell)

    async def chat(
        self,
        caller: Caller,
        agent: str,
        message: str,
        *,
        conversation: str | None = None,
        wait_seconds: float = MAX_WAIT_SECONDS,
        on_event: OnEvent | None = None,
        on_run: OnRun | None = None,
    ) -> ChatReply:
        """One turn with one agent: the reply, or after `wait_seconds` the handle of a run in which the turn goes on.

        `conversation` None is this client's own thread with the agent, "new" opens one. Raises UnknownAgent,
        UnknownConversation, InvalidInput for an empty message, OverLimit, ModelFailed when the agent's model fails, and
        BudgetSpent when the caller's day has no room for it.
        `on_event` is told what happens, `on_run` as for `run_team_task`.
        """
        from atlas_mcp._talking import talk

        await self.groups.check_agent(caller, agent)
        return await talk(
            self._keeper,
            caller,
            agent,
            message,
            conversation=conversation,
            wait_seconds=wait_seconds,
            on_event=on_event,
            on_run=on_run,
        )

    # -- memory

    async def get_memory(
        self, caller: Caller, agent: str, label: str | None = None, *, history: bool = False
    ) -> list[Block]:
        """The agent's blocks, or the one with that label; with their newest revisions if asked for.

        UnknownAgent, UnknownBlock.
        """
        await self.groups.check_agent(caller, agent)
        rooms = await self._keeper.rooms()
        return await (await rooms.constellation(caller)).get_memory(agent, label, history=history)

    async def update_memory(
        self,
        caller: Caller,
        agent: str,
        label: str,
        *,
        value: str | None = None,
        append: str | None = None,
        replace: Replacement | None = None,
        expected_revision: int | None = None,
    ) -> Block:
        """Change one block by exactly one of `value`, `append` and `replace`; the block as it now stands.

        Raises InvalidInput, OverLimit, StaleRevision, UnknownAgent or UnknownBlock; then nothing was changed.
        """
        await self.groups.check_agent(caller, agent)
        rooms = await self._keeper.rooms()
        return await (await rooms.constellation(caller)).update_memory(
            agent, label, value=value, append=append, replace=replace, expected_revision=expected_revision
        )

    async def undo_memory(self, caller: Caller, agent: str, label: str, revision: int) -> Block:
        """Give a block the value of an earlier revision again, as a new one; the block as it now stands.

        Raises UnknownAgent, UnknownBlock, UnknownRevision, or OverLimit when the block holds less by now.
        """
        await self.groups.check_agent(caller, agent)
        rooms = await self._keeper.rooms()
        return await (await rooms.constellation(caller)).undo_memory(agent, label, revision)

    async def forget(self, caller: Caller, target: Target, *, confirm: bool = False) -> Forgotten:
        """Delete one thing, and what agents made of it, wherever it went; without `confirm` say what that would be.

        Raises InvalidInput, UnknownRun, UnknownAgent, UnknownBlock, IllegalChange for a run that goes on, and
        LettaUnavailable for what Letta alone has; then nothing was changed.
        """
        from atlas_mcp._forgetting import Way

        return await Way(await self._keeper.rooms(), caller).go(target, confirm=confirm)

    async def purge_forgotten(self) -> Purged:
        """Take what was forgotten from the disk of this home and out of its traces, of all its callers."""
        from atlas_mcp._purging import purge

        return await purge(await self._keeper.rooms())

    # -- knowledge

    async def share_knowledge(self, caller: Caller, name: str, text: str, *, project: str | None = None) -> Document:
        """Keep a text that every agent of the caller can search; the same name again replaces it. No agent is asked.

        Raises InvalidInput for a name or text that is empty or no text, OverLimit for one that is too long.
        """
        rooms = await self._keeper.rooms()
        return await rooms.library(caller).share(name, text, project=project)

    async def search_memory(self, caller: Caller, query: str, **narrowed: Any) -> Recalled:
        """What is remembered of that, best first. It can be narrowed to an `agent`, to `kinds`, to a `project`, to what
        was written `since` and `until` moments, and to a `min_trust` of 0 to 1; there are at most `limit` hits (8).

        Raises InvalidInput, OverLimit and UnknownAgent; a Letta that cannot be used costs a note, and is raised only
        where nothing but Letta was asked.
        """
        return await (await self._keeper.rooms()).search_memory(caller, query, **narrowed)

    # -- carrying a constellation away, and bringing one

    @property
    def portable(self) -> Portable:
        """What carries constellations and single agents to files, from files, and from one Letta to another."""
        from atlas_mcp._portable import Portable

        return Portable(self._keeper)

    # -- runs

    async def run_team_task(
        self,
        caller: Caller,
        task: TeamTask,
        *,
        wait_seconds: float = MAX_WAIT_SECONDS,
        on_news: OnNews | None = None,
        on_run: OnRun | None = None,
        patient: bool = False,
    ) -> Run:
        """Set teams to work: the finished run, or after `wait_seconds` the run as it stands.

        UnknownTeam; UnpricedModel for a limit in dollars that cannot be kept, since a model's price is not known;
        InvalidInput for a material that the guard refuses.

        `on_news` is given the run with its new events, as they come; `on_run` its id, before anything is stored. One
        who is cancelled while waiting stops only the waiting; to stop the run as well, call `cancel_run` with that id.
        A run that waits for an answer is given at once, unless `patient`: then somebody may be about to answer it.
        """
        deadline = deadline_of(wait_seconds)
        check_task(self._keeper, task)
        rooms = await self._keeper.rooms()
        run_id = await rooms.runs.submit(
            caller,
            "team_task",
            task.goal,
            task.model_dump(mode="json"),
            needs=self._keeper.models.providers(),
            on_run=on_run,
        )
        return await follow(rooms, caller, run_id, deadline, on_news, patient=patient)

    async def rate_text(
        self, caller: Caller, text: str, criteria: Sequence[str] | None = None, **call: Unpack[Call]
    ) -> TextRating:
        """Have a text rated by agents that did not write it; or after `wait_seconds` the handle of the run that does.

        Raises InvalidInput for an empty text or unfit criteria, OverLimit, and ModelFailed when the run failed.
        """
        from atlas_mcp._ratings import rate_text

        return await rate_text(self._keeper, caller, text, criteria, **call)

    async def get_run(self, caller: Caller, run_id: str, *, since: int = 0, wait_seconds: float = 30.0) -> Run:
        """The run with its events after `since`; waits up to `wait_seconds` for news or the end. UnknownRun."""
        rooms = await self._keeper.rooms()
        run = await rooms.runs.get(caller, run_id, since=since, wait_seconds=bounded(wait_seconds))
        return noted(rooms, run)

    async def follow_run(
        self,
        caller: Caller,
        run_id: str,
        *,
        since: int = 0,
        wait_seconds: float = MAX_WAIT_SECONDS,
        on_news: OnNews | None = None,
        patient: bool = False,
    ) -> Run:
        """Go on waiting for a run as `run_team_task` does, from the news after `since` on. UnknownRun."""
        deadline = deadline_of(wait_seconds)
        rooms = await self._keeper.rooms()
        return await follow(rooms, caller, run_id, deadline, on_news, since=since, patient=patient)

    async def answer_run(self, caller: Caller, run_id: str, answer: str, *, question_id: str | None = None) -> Run:
        """Answer what the run asks: its oldest open question, or the one of that id; the run, going on.

        The first answer counts: another changes nothing, and the note says so. UnknownRun, IllegalChange for a run that
        asks nothing, InvalidInput for an answer that does not fit, which says what would, and OverLimit.
        """
        rooms = await self._keeper.rooms()
        return noted(rooms, await rooms.runs.answer(caller, run_id, answer, question_id=question_id))

    async def list_runs(
        self, caller: Caller, *, status: RunStatus | None = None, limit: int = 20, cursor: str | None = None
    ) -> tuple[list[Run], str | None]:
        """The caller's runs, newest first, and the cursor of the next page."""
        rooms = await self._keeper.rooms()
        return await rooms.runs.list(caller, status=status, limit=limit, cursor=cursor)

    async def cancel_run(self, caller: Caller, run_id: str) -> Run:
        """Stop the run; what was done so far is kept. A run that has ended stays as it is, and its note says so."""
        rooms = await self._keeper.rooms()
        return await rooms.runs.cancel(caller, run_id)

    async def outcome(self, caller: Caller, run_id: str) -> Run | ChatReply | GroupReply | TextRating:
        """What the call that began the run gives once it has ended. UnknownRun, and ModelFailed for a failed turn."""
        from atlas_mcp._chats import reply_of
        from atlas_mcp._ratings import rating_of

        run = await self.get_run(caller, run_id, wait_seconds=0)
        if run.status not in ENDED or run.kind == "team_task":
            return run
        if run.kind == "rating":
            return rating_of(run)
        if run.kind == "turn":
            return await reply_of(await self._keeper.rooms(), caller, run)
        return await self.groups.replied(caller, run)

    async def execute_runs(self) -> str:
        """Open what executing runs takes, at once: from now on this process does its part of them, whoever asks.

        Gives the name under which the record knows it.
        """
        return (await self._keeper.rooms()).runs.executor

    async def drain(self, seconds: float) -> None:
        """Make ready to end: nothing begins any more, turns under way have `seconds` to end, and then everybody who
        waits for a run is given it as it stands. It goes on in another process on this home, or in the next one."""
        await self._keeper.drain(seconds)

    @property
    def draining(self) -> bool:
        """Whether this process is about to end."""
        return self._keeper.draining

    async def status(self, caller: Caller) -> Status:
        """What works and what does not, and what to do about it."""
        from atlas_mcp._status import describe_status

        return await describe_status(self._keeper, caller)

    async def servers(self) -> list[ServerInfo]:
        """The Lettas that are configured and those that constellations are still on, as they are found now.

        The models there are listed, and what keeps ATLAS from using one is told; nothing is raised for that.
        """
        from atlas_mcp._survey import counted, survey

        return await counted(self._keeper, await survey(self._keeper))
