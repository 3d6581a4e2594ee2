"""Taking a turn: queue for the thread, read, run the loop, write everything in one transaction.

Whatever goes wrong before that transaction, the model's failure, a caller who goes away, a killed process, leaves the
thread as it was. A message with an otid that the thread knows is not taken again: its stored answer is given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio

from atlas_mcp.embedded import asks, entries, threads
from atlas_mcp.embedded.asks import Ask
from atlas_mcp.embedded.database import new_id, now
from atlas_mcp.embedded.faults import CallerGone, Fault
from atlas_mcp.embedded.services import ActiveRun, Services, load_module
from atlas_mcp.embedded.threads import Replay, Result
from atlas_mcp.embedded.usage import Usage

if TYPE_CHECKING:
    from atlas_mcp.embedded.loop import Emit

_NOTE_SECONDS = 5.0


@dataclass(frozen=True)
class Reply:
    """How a turn ended, for the response; its messages were emitted."""

    run_id: str
    stop_reason: str
    usage: Usage = field(default_factory=Usage)


async def take_turn(services: Services, ask: Ask, emit: Emit) -> Reply:
    """Runs one request for a turn, emitting its messages as they come, first the `ping` that carries the run's id.

    Raises Fault. A run that is cancelled through the API ends with the stop reason `cancelled` and keeps nothing.
    """
    scope = anyio.CancelScope()
    active = ActiveRun(ask.run_id, ask.agent_id, ask.thread_id, now(), ask.background, scope)
    services.active[ask.run_id] = active
    try:
        with scope:
            return await _noting_failure(services, active, ask, emit)
    finally:
        services.active.pop(ask.run_id, None)
    return Reply(ask.run_id, "cancelled")


async def _noting_failure(services: Services, active: ActiveRun, ask: Ask, emit: Emit) -> Reply:
    try:
        async with services.alone_in(ask.thread_id):
            return await _locked(services, active, ask, emit)
    except (anyio.get_cancelled_exc_class(), CallerGone):
        await _note(services, active, ask, "cancelled")
        raise
    except Exception as error:
        if active.started or ask.background:  # what was refused at once is not a run
            body = error.body() if isinstance(error, Fault) else {"detail": f"{type(error).__name__}: {error}"}
            await _note(services, active, ask, "failed", body)
        raise


async def _note(
    services: Services, active: ActiveRun, ask: Ask, status: str, error: dict[str, Any] | None = None
) -> None:
    reason = "cancelled" if status == "cancelled" else "llm_api_error" if error and "error" in error else "error"
    with anyio.move_on_after(_NOTE_SECONDS, shield=True):
        await services.database.write(
            lambda c: threads.write_run(
                c, ask, status, error=error, stop_reason=reason, created_at=active.created_at, used=active.used
            )
        )


async def _locked(services: Services, active: ActiveRun, ask: Ask, emit: Emit) -> Reply:
    opening = await services.database.read(lambda c: threads.begin(c, ask, services.recent))
    if isinstance(opening, Replay):
        return await _again(opening, emit)
    playing: Any = await load_module("play")
    await services.chat(ask.override_model or opening.agent["model"])  # unknown: a 404 before the stream begins
    resumed = asks.resumed(ask, opening.paused, opening.past.entries)
    active.started = True
    await emit(ping(ask.run_id))
    result: Result = await playing.play(services, ask, opening, resumed, emit, active)
    return Reply(ask.run_id, result.stop_reason, Usage(**result.usage))


async def _again(replay: Replay, emit: Emit) -> Reply:
    await emit(ping(replay.run_id))
    total = Usage()
    for used in replay.usages:
        total.add(Usage(**used))
    for entry in replay.messages:
        for message in entries.wire(entry):
            await emit(message)
    return Reply(replay.run_id, replay.stop_reason, total)


def ping(run_id: str) -> dict[str, Any]:
    """The first event of a stream, and the one that keeps it alive: it carries the run's id."""
    common = dict.fromkeys(("name", "otid", "sender_id", "step_id", "is_err", "seq_id"))
    return {"id": new_id("ping"), "date": now(), "message_type": "ping", "run_id": run_id, **common}
