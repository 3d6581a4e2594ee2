"""Chats: one turn with one agent as a run that somebody waits for.

The caller that waits is visiting the constellation, and lends it to the run: a warm chat looks it up once. Its reply is
handed over as soon as it is sure, which is when the guard has looked at it; a chat that outlives its call is a run like
any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp._budgets import failure_of
from atlas_mcp.constellation.names import turn_id
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.guard.again import AS_DATA, TAKEN_OUT, as_data, cut, held_to, in_words
from atlas_mcp.guard.entering import Checked
from atlas_mcp.guard.layers import About
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.guard import Held
from atlas_mcp.model.turn import ChatReply, TurnResult
from atlas_mcp.runs import RunOutcome
from atlas_mcp.runs.changes import Entry, Kept, Spent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.constellation.contract import ToolSession
    from atlas_mcp.guard.again import Reply
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.model.context import ContextItem
    from atlas_mcp.model.guard import Verdict
    from atlas_mcp.model.run import Event, Run
    from atlas_mcp.runs.context import RunContext
    from atlas_mcp.runs.opening import Opening
    from atlas_mcp.runs.runs import Asked

    OnEvent = Callable[[Event], Awaitable[None]]
    OnRun = Callable[[str], None]


async def ask_turn(
    rooms: Rooms,
    agents: Constellation,
    agent: str,
    message: str,
    conversation: str,
    *,
    wait_seconds: float,
    on_event: OnEvent | None,
    on_run: OnRun | None,
) -> Asked:
    """Ask for a turn and wait for it; `agents` is the constellation that the caller is visiting."""
    caller, lent = agents.caller, ""

    def first(run_id: str) -> Entry:
        nonlocal lent
        lent = run_id
        rooms.lent[run_id] = agents
        return _started(caller, agent, run_id)

    try:
        return await rooms.runs.ask(
            caller,
            "turn",
            message[:200],
            {"agent": agent, "message": message, "conversation": conversation, "client": caller.client},
            needs=rooms.keeper.models.providers(),
            wait_seconds=wait_seconds,
            on_event=on_event,
            on_run=on_run,
            first=first,
        )
    finally:
        rooms.lent.pop(lent, None)


async def take_turn(rooms: Rooms, run: RunContext) -> RunOutcome:
    """Execute a run that is one turn; the whole TurnResult is kept as the artifact `turn`."""
    caller = Caller(id=run.caller.id, kind=run.caller.kind, client=run.input["client"])
    agent = run.input["agent"]
    if run.opening is None:
        await run.write(_started(caller, agent, run.run_id))
    async with rooms.visit(caller, run.run_id) as agents:
        thread = run.input["conversation"]
        message, marked = await rooms.reminders.with_message(agents, agent, thread, run.input["message"])
        reminded = [await _told(run, agent, item) for item in marked]
        watch = _Watch(rooms.keeper.guard.leaving, agents, run, agent, [held for some in reminded for held in some])
        turn, tools = await _taken(agents, run, agent, message, thread, run.run_id, run.opening, watch)
        if tools.turn.approvals and tools.turn.approvals.waiting:
            turn = await _decided(agents, run, turn, tools, watch)
        return watch.outcome(watch.at_once(turn) or await watch.held_to(turn))


class _Watch:
    """The guard on one chat; `reminded` is what it found in what the agent was reminded of."""

    def __init__(
        self, guard: Leaving, agents: Constellation, run: RunContext, agent: str, reminded: list[Held]
    ) -> None:
        self._guard, self._agents, self._run, self._reminded = guard, agents, run, reminded
        self._looked: tuple[str, Verdict | None] | None = None
        self._about = About(
            "answer",
            name="reply",
            agent=agent,
            task=run.input["message"],
            caller=run.caller,
            run_id=run.run_id,
            spent=lambda used: run.tell(Spent(used)),
        )

    def at_once(self, turn: TurnResult) -> Reply | None:
        """The reply as it may leave, where that can be told without waiting."""
        # Asked for as soon as the reply is sure, and again at the end: it is looked at once.
        if self._looked is None or self._looked[0] != turn.reply:
            self._looked = turn.reply, self._guard.at_once(turn.reply, self._about)
        verdict = self._looked[1]
        return cut(turn, verdict) if verdict is not None else None

    async def held_to(self, turn: TurnResult) -> Reply:
        """The reply as it may leave, for which the agent may be asked once more."""

        async def anew(prompt: str, held: Held) -> TurnResult:
            await self._run.write(_not_passed(held, 1))
            key, thread = f"{self._run.run_id}:anew", turn.conversation
            take = self._agents.take_turn
            return await take(
                turn.agent, prompt, conversation=thread, key=key, run_id=self._run.run_id, on_event=self._run.emit
            )

        return await held_to(self._guard, turn, self._about, anew)

    def outcome(self, reply: Reply) -> RunOutcome:
        """What the run ends with."""
        turn = reply.turn
        if self._reminded:
            turn = turn.model_copy(update={"guard": [*self._reminded, *turn.guard]})
        ended = Entry(turn.agent, "turn_finished", f"{turn.agent} answered", turn.turn_id, {}, "finished", "started")
        kept = (
            *(Spent(one.usage, one.turn_id) for one in reply.turns),
            *(_not_passed(held, number) for number, held in enumerate(reply.held, 1)),
            Kept("turn", turn.model_dump_json()),
            ended,
        )
        return RunOutcome(reply=turn.reply, changes=kept)


async def _taken(
    agents: Constellation,
    run: RunContext,
    agent: str,
    message: str,
    thread: str,
    key: str,
    opening: Opening | None,
    watch: _Watch,
) -> tuple[TurnResult, ToolSession]:
    called = ToolTurn(turn_id(agents.caller, key), run.run_id, run.emit, run, key)
    tools = agents.toolbox.session(agents.roster.agent(agent), None, called)

    def hand_over(result: TurnResult) -> None:
        if not (called.approvals and called.approvals.holds) and (reply := watch.at_once(result)) is not None:
            run.hand_over(watch.outcome(reply))

    turn = await agents.take_turn(
        agent,
        message,
        conversation=thread,
        key=key,
        run_id=run.run_id,
        tools=tools,
        opening=opening,
        on_event=run.emit,
        on_answer=hand_over,
    )
    return turn, tools


async def _decided(
    agents: Constellation, run: RunContext, turn: TurnResult, tools: ToolSession, watch: _Watch
) -> TurnResult:
    """The turn, or the last of those in which the agent went on after calls that it made were decided."""
    from atlas_mcp.teamwork.held import came_to, interrupted

    number, key = 0, run.run_id
    while said := await came_to(tools):
        await run.write(*interrupted(turn, key, tools))
        number, key = number + 1, f"{run.run_id}:held:{number + 1}"
        changed = turn.memory_changes
        turn, tools = await _taken(agents, run, turn.agent, said, turn.conversation, key, None, watch)
        turn = turn.model_copy(update={"memory_changes": [*changed, *turn.memory_changes]})
    return turn


def _started(caller: Caller, agent: str, run_id: str) -> Entry:
    return Entry(agent, "turn_started", f"{agent} is thinking", turn_id(caller, run_id), key="started")


def _not_passed(held: Held, number: int) -> Entry:
    key = f"guard:{number}"
    return Entry("atlas", "guard_failed", in_words(held), None, {**as_data(held)}, key, "started")


async def _told(run: RunContext, agent: str, item: ContextItem) -> list[Held]:
    """Tell in the journal what the guard found in a memory that the agent is reminded of; and for the result."""
    checked = Checked("memory", item.id, item.text, item.findings)
    key = f"guard:memory:{item.id}"
    await run.emit("atlas", "guard_finding", checked.told(), key=key, memory=item.id, findings=checked.data())
    return [
        Held(agent=agent, what=f"memory {item.id}", finding=one, then=TAKEN_OUT if one.action == "cut" else AS_DATA)
        for one in item.findings
    ]


async def reply_of(rooms: Rooms, caller: Caller, run: Run) -> ChatReply:
    """What a chat that outlived its call came to; ModelFailed for one that failed."""
    if run.status != "completed":
        raise failure_of(run, "turn")
    return replied(rooms, await rooms.runs.load(caller, run.run_id, "turn"), run.trace_id)


def replied(rooms: Rooms, kept: str | None, trace_id: str | None) -> ChatReply:
    """The turn that is kept, as its caller gets it."""
    turn = TurnResult.model_validate_json(kept or "{}")
    return ChatReply(
        status="completed",
        reply=turn.reply,
        agent=turn.agent,
        conversation=turn.conversation,
        memory_changes=turn.memory_changes,
        usage=turn.usage,
        trace_id=trace_id,
        note=" ".join(filter(None, (rooms.keeper.note_on(turn.model), *map(_note, turn.guard)))) or None,
        guard=turn.guard,
    )


def _note(held: Held) -> str:
    return f"The guard: {in_words(held)}."
