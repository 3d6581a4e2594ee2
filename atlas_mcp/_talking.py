"""A chat as the one who asks sees it: the reply, or the handle of the run in which the turn goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp._chats import ask_turn, replied, reply_of
from atlas_mcp._waiting import deadline_of, each, follow, left
from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.model.run import ENDED
from atlas_mcp.model.task import MAX_MESSAGE
from atlas_mcp.model.turn import ChatReply

if TYPE_CHECKING:
    from atlas_mcp._chats import OnEvent, OnRun
    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.model.caller import Caller


async def talk(
    keeper: RoomsKeeper,
    caller: Caller,
    agent: str,
    message: str,
    *,
    conversation: str | None,
    wait_seconds: float,
    on_event: OnEvent | None,
    on_run: OnRun | None,
) -> ChatReply:
    """See `Atlas.chat`; the agent is known to be one of the caller's."""
    if not message.strip():
        raise InvalidInput("the message is empty.", argument="message", next_step="Say what the agent should do.")
    if len(message) > MAX_MESSAGE:
        step = "Hand long texts to run_team_task as materials."
        raise OverLimit("message", len(message), MAX_MESSAGE, next_step=step)
    deadline = deadline_of(wait_seconds)
    rooms = await keeper.rooms()
    async with rooms.visit(caller) as agents:
        thread = await agents.thread(agent, conversation)
        done = await ask_turn(
            rooms, agents, agent, message, thread, wait_seconds=left(deadline), on_event=on_event, on_run=on_run
        )
    if done.outcome is not None:
        return replied(rooms, done.outcome.kept("turn"), done.trace_id)
    run = await follow(rooms, caller, done.run_id, deadline, each(on_event))
    if run.status not in ENDED:
        return ChatReply(
            status="working",
            agent=agent,
            conversation=thread,
            run_id=run.run_id,
            trace_id=run.trace_id,
            note=run.note,
        )
    reply = await reply_of(rooms, caller, run)
    await rooms.runs.forget(caller, run.run_id)
    return reply
