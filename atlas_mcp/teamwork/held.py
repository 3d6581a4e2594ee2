"""Going on after a turn in which calls were held: the run waits for the caller's word, and the agent hears of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.constellation.names import turn_id
from atlas_mcp.constellation.tool_turn import ToolTurn
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs.changes import Entry, Spent

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.constellation.contract import ToolSession
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.teamwork.contract import Journal


def tool_turn(run: Journal, key: str, numbered: str) -> ToolTurn:
    """A turn of the run for its tools; `numbered` is its key in this attempt, `key` that of all attempts at it."""
    return ToolTurn(turn_id(run.caller, numbered), run.run_id, run.emit, run, key)


async def came_to(tools: ToolSession | None, quiet: Callable[[], Awaitable[None]] | None = None) -> str | None:
    """What came of the calls that the turn held, for the agent's next message; None if it held none.

    `quiet` returns when nobody else of the run is at work: a run that waits for its caller waits as a whole. Raises
    Waiting. The record is asked only where a call was held, or an earlier attempt at the run may have held one.
    """
    approvals = tools.turn.approvals if tools else None
    if tools is None or approvals is None or not approvals.waiting:
        return None
    if quiet and await approvals.open():
        await quiet()
    before = tools.turn.paid  # in the turn itself, whose usage has it
    said = await approvals.came_to(tools.make)
    tools.turn.paid -= before
    return said


def interrupted(turn: TurnResult, key: str, tools: ToolSession | None) -> tuple[Entry, Spent]:
    """A turn is over whose agent goes on, since its calls are decided: to be written, with what both cost."""
    paid = tools.turn.paid if tools else 0.0
    text = f"{turn.agent}'s calls waited for approval"
    entry = Entry(turn.agent, "turn_finished", text, turn.turn_id, {}, f"{key}:waited", f"{key}:started")
    return entry, Spent(turn.usage + Usage(cost_usd=paid) if paid else turn.usage, turn.turn_id)
