"""Chats: one turn with one agent as a run that somebody waits for.

The caller that waits is visiting the constellation, and lends it to the run: a warm chat looks it up once. Its reply is
handed over as soon as it is sure; a chat that outlives its call is a run like any other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp._budgets import failure_of
from atlas_mcp.constellation.names import turn_id
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.turn import ChatReply, TurnResult
from atlas_mcp.runs import RunOutcome
from atlas_mcp.runs.changes import Entry, Kept, Spent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.constellation.constellation import Constellation
    from atlas_mcp.model.run import Event, Run
    from atlas_mcp.runs.context import RunContext
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
        turn = await agents.take_turn(
            agent,
            await rooms.reminders.with_message(agents, agent, thread, run.input["message"]),
            conversation=thread,
            key=run.run_id,
            run_id=run.run_id,
            opening=run.opening,
            on_event=run.emit,
            on_answer=lambda result: run.hand_over(_outcome(result)),
        )
    return _outcome(turn)


def _started(caller: Caller, agent: str, run_id: str) -> Entry:
    return Entry(agent, "turn_started", f"{agent} is thinking", turn_id(caller, run_id), key="started")


def _outcome(turn: TurnResult) -> RunOutcome:
    kept = (
        Spent(turn.usage, turn.turn_id),
        Kept("turn", turn.model_dump_json()),
        Entry(turn.agent, "turn_finished", f"{turn.agent} answered", turn.turn_id, key="finished", cause_key="started"),
    )
    return RunOutcome(reply=turn.reply, changes=kept)


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
        note=rooms.keeper.note_on(turn.model),
    )
