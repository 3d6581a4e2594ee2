"""Playing a turn through, from what was read to what is written. Imports LangChain, so it is loaded in a thread."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from langchain_core.runnables.config import var_child_runnable_config

from atlas_mcp.embedded import entries, history, memory, spans, summary, threads, usage
from atlas_mcp.embedded.loop import ServerTool, Turn, TurnStopped
from atlas_mcp.embedded.threads import Opening, Result

if TYPE_CHECKING:
    from collections.abc import Generator

    from langchain_core.language_models.chat_models import BaseChatModel

    from atlas_mcp.embedded.asks import Ask
    from atlas_mcp.embedded.entries import Entry
    from atlas_mcp.embedded.loop import Emit
    from atlas_mcp.embedded.services import ActiveRun, Services


async def play(
    services: Services, ask: Ask, opening: Opening, resumed: list[Entry], emit: Emit, active: ActiveRun
) -> Result:
    """Runs the loop and writes the turn, or its part until it pauses. Raises Fault; then nothing was written."""
    started = time.perf_counter_ns()
    turn = _turn(services, ask, opening, emit)
    active.used = turn.usage
    agent = opening.agent
    with spans.span(
        f"agent {agent['name']}",
        "AGENT",
        lambda: [entry.content for entry in ask.messages or resumed],
        gen_ai__operation__name="invoke_agent",
        gen_ai__agent__name=agent["name"],
        gen_ai__agent__id=agent["id"],
        **spans.conversation(ask.thread_id),
    ) as span:
        for entry in resumed:
            await turn.send(entries.wire(entry)[0])
        short = await _run(services, ask, opening, turn, resumed)
        duration = time.perf_counter_ns() - started
        made = _result(ask, opening, turn, resumed, short)
        result = replace(made, created_at=active.created_at, duration_ns=duration)
        await services.database.write(lambda c: threads.finish(c, ask, result))
        span.outputs(lambda: [entry.content for entry in turn.made if entry.kind == "assistant"][-1:])
    return result


def _turn(services: Services, ask: Ask, opening: Opening, emit: Emit) -> Turn:
    paused = opening.paused
    sources = [row for row in opening.tools if row["source_code"]]
    return Turn(
        id=paused["turn_id"] if paused else ask.turn_id,
        run_id=ask.run_id,
        agent_id=ask.agent_id,
        model=ask.override_model or opening.agent["model"],
        system=opening.agent["system"] if ask.override_system is None else ask.override_system,
        memory=memory.load(opening.blocks, paused["changes"] if paused else None, services.check_memory),
        database=services.database,
        emit=emit,
        run_tool=services.run_tool,
        server_tools={row["name"]: ServerTool(row["source_code"], row["return_char_limit"]) for row in sources},
        client_tools=frozenset(json.loads(tool)["name"] for tool in _client_tools(ask, opening)),
        stream_tokens=ask.stream_tokens,
        max_steps=ask.max_steps,
        archived=opening.archived,
        earlier=opening.earlier,
        summary=opening.summary,
    )


async def _run(services: Services, ask: Ask, opening: Opening, turn: Turn, resumed: list[Entry]) -> summary.Shortened:
    model = await services.chat(turn.model)
    schemas = _schemas(ask, opening, turn)
    graph = await services.graph(turn.model, model, schemas)
    new = summary.size([*ask.messages, *resumed]) + sum(map(usage.tokens, schemas))
    short = await _context(services, model, opening, turn, new)
    turn.past = history.messages_of(short.kept, opening.past.messages)
    messages = history.messages_of([*ask.messages, *resumed])
    try:
        with _callers_graph_hidden():
            await graph.ainvoke({"messages": messages}, context=turn, output_keys=[])
    except TurnStopped as stopped:
        turn.stop_reason = stopped.reason
    return short


@contextmanager
def _callers_graph_hidden() -> Generator[None]:
    """Hide a LangGraph graph that the caller may be in: in process, its context is ours.

    Ours would take itself for a part of that one: keep its messages in the caller's checkpoints, and do nothing at all
    when the caller's graph is being resumed.
    """
    token = var_child_runnable_config.set(None)
    try:
        yield
    finally:
        var_child_runnable_config.reset(token)


async def _context(
    services: Services, model: BaseChatModel, opening: Opening, turn: Turn, taken: int
) -> summary.Shortened:
    """The part of the thread that fits beside `taken` tokens. A paused turn is never cut: it belongs together."""
    room = opening.agent["context_window"] or services.context_tokens
    room -= usage.tokens(turn.prompt()) - usage.tokens(opening.summary) + taken
    past = [entry for entry in opening.past.entries if entry.turn_id != turn.id]
    current = [entry for entry in opening.past.entries if entry.turn_id == turn.id]
    room = max(room - summary.size(current), 0)
    short = await summary.shorten(model, turn.model, past, opening.summary, opening.upto, room=room)
    turn.usage.add(short.used)
    turn.summary, turn.earlier = short.text, opening.earlier + short.dropped
    return replace(short, kept=[*short.kept, *current])


def _client_tools(ask: Ask, opening: Opening) -> tuple[str, ...]:
    """The caller's tools: as sent, else those that the paused turn was begun with."""
    if ask.client_tools is None and opening.paused is not None:
        return tuple(json.loads(opening.paused["client_tools"]))
    return ask.client_tools or ()


def _schemas(ask: Ask, opening: Opening, turn: Turn) -> tuple[str, ...]:
    own = [row["json_schema"] for row in opening.tools if row["name"] not in turn.client_tools]
    return (*own, *_client_tools(ask, opening))


def _result(ask: Ask, opening: Opening, turn: Turn, resumed: list[Entry], short: summary.Shortened) -> Result:
    waiting: list[dict[str, Any]] = []
    if turn.stop_reason == "requires_approval":
        asked = next(entry for entry in reversed(turn.made) if entry.client_calls)
        waiting = [{"id": call["id"], "name": call["name"]} for call in asked.client_calls]
    return Result(
        turn_id=turn.id,
        made=[*ask.messages, *resumed, *turn.made],
        memory=turn.memory,
        stop_reason=turn.stop_reason,
        usage=turn.usage.stored(),
        steps=turn.steps,
        client_tools=_client_tools(ask, opening),
        summary=(short.upto, short.text) if short.made else None,
        calls=waiting,
    )
