"""Waiting for a run within the time that a call has: its news on the way, and how it stands then."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from atlas_mcp._budgets import price_note
from atlas_mcp.errors import InvalidInput
from atlas_mcp.model.run import ENDED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp._rooms import Rooms
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.run import Event, Run

    OnEvent = Callable[[Event], Awaitable[None]]
    OnNews = Callable[[Run], Awaitable[None]]

MAX_WAIT_SECONDS = 45.0


async def follow(
    rooms: Rooms,
    caller: Caller,
    run_id: str,
    deadline: float,
    on_news: OnNews | None,
    *,
    since: int = 0,
    patient: bool = False,
) -> Run:
    """Follow the run until it ends or the time is over, handing its news on; then the run with all its events.

    One that waits for an answer is given at once; who is `patient` waits on, since somebody may be about to answer.
    """
    while True:
        seconds = left(deadline)
        run = await rooms.runs.get(caller, run_id, since=since, wait_seconds=seconds)
        if run.events:
            since = run.events[-1].seq
            if on_news is not None:
                await on_news(run)
        asks = run.status == "awaiting_answer" and not patient
        if run.status in ENDED or asks or not seconds or rooms.runs.letting_go:
            return noted(rooms, await rooms.runs.get(caller, run_id))


def noted(rooms: Rooms, run: Run) -> Run:
    """The run, saying also what the offline model always says, where it goes on, and which costs nobody knows."""
    prices = price_note(rooms.keeper) if run.usage.turns else None
    notes = [n for n in (run.note, rooms.keeper.note_on_going(run), rooms.keeper.model_note, prices) if n]
    return run.model_copy(update={"note": " ".join(notes) or None})


def each(on_event: OnEvent | None) -> OnNews | None:
    """Hear of a run's news event by event."""
    if on_event is None:
        return None

    async def on_news(run: Run) -> None:
        for event in run.events:
            await on_event(event)

    return on_news


def deadline_of(wait_seconds: float) -> float:
    """When the call must answer. It counts from the call's begin: opening the rooms is part of it."""
    return anyio.current_time() + bounded(wait_seconds)


def left(deadline: float) -> float:
    """The seconds until then."""
    return max(0.0, deadline - anyio.current_time())


def bounded(seconds: float) -> float:
    """The seconds, if a call may wait so long; InvalidInput if not."""
    if not 0 <= seconds <= MAX_WAIT_SECONDS:
        raise InvalidInput(
            f"{seconds:g} is not between 0 and {MAX_WAIT_SECONDS:g}.",
            argument="wait_seconds",
            next_step="Wait at most 45 seconds; then call get_run(run_id=...) to go on waiting.",
        )
    return seconds
