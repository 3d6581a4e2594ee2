"""Groups, and what callers add to the roster: `Atlas.groups`, and how runs of kind `group` are executed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp._budgets import failure_of
from atlas_mcp._waiting import deadline_of, follow
from atlas_mcp.constellation.agents import describe_agents
from atlas_mcp.constellation.any_additions import AnyAdditions
from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.group import GroupInfo, GroupReply
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.task import MAX_MESSAGE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp._rooms import Rooms
    from atlas_mcp.model.agent import AgentInfo, Level, Roster
    from atlas_mcp.model.group import GroupSpec
    from atlas_mcp.model.run import Run
    from atlas_mcp.runs import RunOutcome
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.teamwork.groups.talk import GroupOrder

    OnNews = Callable[[Run], Awaitable[None]]
    OnRun = Callable[[str], None]


class Groups:
    """The groups of one home's callers, and what they add to the roster. Every method takes the caller first."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper
        self._added = AnyAdditions(keeper.home.record)

    async def roster(self, caller: Caller) -> Roster:
        """The caller's roster: the home's, and what they added. Opens no room where nobody added anything."""
        k = self._keeper
        if k.opened is None and k.database is None and not self._added.there():
            return self._keeper.roster
        rooms = await self._keeper.rooms()
        return await rooms.additions(caller).roster()

    async def check_agent(self, caller: Caller, agent: str) -> None:
        """Raise UnknownAgent before any room is opened for it; once they are open the constellation does."""
        if self._keeper.opened is None:
            (await self.roster(caller)).agent(agent)

    async def listed(self, caller: Caller, team: str | None = None) -> list[GroupInfo]:
        """The caller's groups, all or those that somebody of the team belongs to. UnknownTeam."""
        roster = await self.roster(caller)
        there = roster.groups
        if team is not None:
            members = {roster.team(team).supervisor, *roster.team(team).workers}
            there = tuple(g for g in there if members.intersection(g.everyone))
        return [_shown(group) for group in there]

    async def chat(
        self,
        caller: Caller,
        group: str,
        message: str,
        *,
        conversation: str | None = None,
        wait_seconds: float = 45.0,
        on_news: OnNews | None = None,
        on_run: OnRun | None = None,
    ) -> GroupReply:
        """One message to a group: who said what, or after `wait_seconds` the handle of the run in which it goes on.

        `on_news` and `on_run` are as for `Atlas.run_team_task`.

        `conversation` None is this client's own with the group, "new" opens one. Raises UnknownGroup,
        UnknownConversation, InvalidInput for an empty message, OverLimit, and ModelFailed when nobody could answer.
        """
        spec = (await self.roster(caller)).group(group)
        if not message.strip():
            raise InvalidInput("the message is empty.", argument="message", next_step="Say what the group should do.")
        if len(message) > MAX_MESSAGE:
            step = "Hand long texts to run_team_task as materials."
            raise OverLimit("message", len(message), MAX_MESSAGE, next_step=step)
        deadline = deadline_of(wait_seconds)
        rooms = await self._keeper.rooms()
        from atlas_mcp.teamwork.groups import rows
        from atlas_mcp.teamwork.groups.talk import GroupOrder

        talk = await rows.resolve(rooms.record, caller, group, conversation)
        order = GroupOrder(group=spec, conversation=talk, client=caller.client, message=message)
        needs = self._keeper.models.providers()
        given = order.model_dump(mode="json")
        run_id = await rooms.runs.submit(caller, "group", message[:200], given, needs=needs, on_run=on_run)
        run = await follow(rooms, caller, run_id, deadline, on_news)
        if run.status in ENDED:
            return await self.replied(caller, run)
        async with rooms.record.read() as db:
            so_far = [m for m in await rows.of_run(db, run_id) if m.source != "caller"]
        return GroupReply(
            status="working",
            group=group,
            conversation=talk,
            messages=so_far,
            usage=run.usage,
            run_id=run_id,
            trace_id=run.trace_id,
            note=run.note,
        )

    async def replied(self, caller: Caller, run: Run) -> GroupReply:
        """What an ended run of a group answers. ModelFailed when it failed, or was cancelled."""
        from atlas_mcp.teamwork.groups.talk import OUTCOME, GroupOutcome

        if run.status != "completed":
            raise failure_of(run, "talk")
        rooms = await self._keeper.rooms()
        kept = GroupOutcome.model_validate_json(
            await rooms.runs.load(caller, run.run_id, OUTCOME) or '{"messages": []}'
        )
        return GroupReply(
            status="completed",
            group=kept.group,
            conversation=kept.conversation,
            messages=kept.messages,
            stopped=kept.stopped,
            usage=run.usage,
            run_id=run.run_id,
            background_runs=[*kept.background_runs],
            trace_id=run.trace_id,
            note=run.note,
        )

    async def create_agent(
        self,
        caller: Caller,
        name: str,
        description: str,
        persona: str,
        *,
        level: Level = "interactive",
        pools: tuple[str, ...] = (),
    ) -> AgentInfo:
        """Add an agent; it is created in Letta when first needed. InvalidInput for a name that is taken, OverLimit."""
        rooms = await self._keeper.rooms()
        await rooms.additions(caller).create_agent(name, description, persona, level, pools)
        k, roster = self._keeper, await rooms.additions(caller).roster()
        shown = describe_agents(caller, roster, None, locks=k.locks, models=k.models, toolbox=k.toolbox)
        return next(agent for agent in shown if agent.name == name)

    async def delete_agent(self, caller: Caller, name: str) -> None:
        """Delete an agent that was added, with its memory. UnknownAgent; IllegalChange for one in use or not added."""
        rooms = await self._keeper.rooms()
        agents = await rooms.constellation(caller)
        _ = agents.roster.agent(name)
        agents.removal.check_agent(name)
        await rooms.additions(caller).check("agent", name)
        async with agents.visit():
            await agents.removal.agent(name)
            await rooms.additions(caller).delete("agent", name)

    async def create_group(self, caller: Caller, group: dict[str, Any]) -> GroupInfo:
        """Add a group. UnknownAgent for a member that is none, InvalidInput for a name that is taken or unfit."""
        rooms = await self._keeper.rooms()
        spec = await rooms.additions(caller).create_group(group)
        agents = await rooms.constellation(caller)
        async with agents.visit():
            await agents.group_copies.show(spec)
        return _shown(spec)

    async def delete_group(self, caller: Caller, name: str) -> None:
        """Delete a group that was added, with its notes and conversations. UnknownGroup, IllegalChange."""
        rooms = await self._keeper.rooms()
        agents = await rooms.constellation(caller)
        spec = agents.roster.group(name)
        await rooms.additions(caller).check("group", name)
        await agents.removal.check_group(name)
        async with agents.visit():
            await agents.group_copies.hide(name)
            await agents.removal.group(spec)
            await rooms.additions(caller).delete("group", name)


class GroupRuns:
    """How a run of kind `group` is executed."""

    def __init__(self, rooms: Rooms) -> None:
        self._rooms = rooms

    async def execute(self, run: RunContext) -> RunOutcome:
        """One message to a group, or the turns of its background agents."""
        from atlas_mcp.teamwork import leads
        from atlas_mcp.teamwork.groups.talk import GroupOrder, House, run_group

        rooms, order = self._rooms, GroupOrder.model_validate(run.input)
        caller = Caller(id=run.caller.id, kind=run.caller.kind, client=order.client)
        agents = await rooms.constellation(caller)

        async def submit(further: GroupOrder) -> str:
            goal, given = f"{further.group.name} tends its memory", further.model_dump(mode="json")
            needs = rooms.keeper.models.providers()
            return await rooms.runs.submit(caller, "group", goal, given, needs=needs, counted=False)

        by_model = rooms.keeper.settings.summaries == "model"
        k = rooms.keeper
        house = House(agents, rooms.record, k.locks, submit, summaries_by_model=by_model, guard=k.guard.leaving)
        with leads.leading(rooms.openings):
            return await run_group(run, order, house)


def _shown(group: GroupSpec) -> GroupInfo:
    return GroupInfo(
        name=group.name,
        description=group.description,
        manager=group.manager.type,
        managed_by=group.managed_by,
        agents=[*group.agents],
    )
