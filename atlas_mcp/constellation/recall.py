"""Search in all that one constellation remembers: shared knowledge, archives, blocks, runs, and what they taught.

Each kind is searched where it lives: knowledge, runs and learnings in the record, archives by Letta itself, blocks in
their present values. A hit's score is made of its place among its own kind and of the share of the query's words that
stand in it (see `memory.search.score_at`), so that hits of all kinds stand in one order. What cannot be searched costs
a note, and an error only where nothing else was asked for. Nothing is created by searching: an agent that was never
needed remembers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar, get_args

import anyio

from atlas_mcp.constellation.agent_rows import read_agents
from atlas_mcp.constellation.library import checked_query
from atlas_mcp.constellation.names import is_guest
from atlas_mcp.errors import AtlasError, ConfigurationError, InvalidInput, LettaLost, LettaUnavailable
from atlas_mcp.memory.chunks import passages
from atlas_mcp.memory.results import bring_up_to_date
from atlas_mcp.memory.search import Scope, score_at, search
from atlas_mcp.model.knowledge import AGENT_TRUST, MAX_HITS, Hit, Recalled
from atlas_mcp.model.memory_kinds import MemoryKind, NoteKind
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.library import Library
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import BlockState
    from atlas_mcp.memory.words import Query
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.store.record import Record

KINDS: tuple[MemoryKind, ...] = tuple(kind for kind in get_args(MemoryKind) if kind != "fact")
_AT_ONCE = 4
_T = TypeVar("_T")
_NOTES: tuple[MemoryKind, ...] = get_args(NoteKind)
_OF_A_PROJECT: tuple[MemoryKind, ...] = ("knowledge", *_NOTES)
_OF_AN_AGENT: tuple[MemoryKind, ...] = ("knowledge", "archive", "block")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and where."""

    query: Query
    limit: int
    agent: str | None
    project: str | None


class Recall:
    """Search in one caller's constellation. In the place of a Letta that cannot be used, the reason."""

    def __init__(self, roster: Roster, letta: Letta | AtlasError, record: Record, library: Library) -> None:
        self._caller = library.caller
        self._roster = roster
        self._letta = letta
        self._record = record
        self._library = library

    async def search(
        self,
        query: str,
        *,
        agent: str | None = None,
        kinds: Sequence[MemoryKind] | None = None,
        project: str | None = None,
        limit: int = 8,
    ) -> Recalled:
        """What is found, best first. Raises InvalidInput, OverLimit, UnknownAgent, and LettaUnavailable where Letta
        alone was asked and does not answer.
        """
        asked = checked_query(query)
        if not 1 <= limit <= MAX_HITS:
            raise InvalidInput(f"{limit} is not between 1 and {MAX_HITS}.", argument="limit", next_step="Call again.")
        if agent is not None:
            self._roster.agent(agent)
        where = _kinds(kinds, agent, project)
        inputs = {"query": query, "agent": agent, "kinds": list(where), "project": project, "limit": limit}
        with span("search memory", kind="RETRIEVER", inputs=inputs) as opened:
            found = await self._in_all(Wanted(asked, limit, agent, project), where)
            outputs(opened, found.model_dump(mode="json"))
            return found

    async def _in_all(self, wanted: Wanted, kinds: Sequence[MemoryKind]) -> Recalled:
        ways: dict[MemoryKind, Callable[[Wanted], Awaitable[list[Hit]]]] = {
            "knowledge": self._knowledge,
            "archive": self._archives,
            "block": self._blocks,
            "episodic": self._runs,
            **{kind: partial(self._notes, kind) for kind in _NOTES if kind != "episodic"},
        }
        hits: list[Hit] = []
        failures: dict[MemoryKind, AtlasError] = {}
        for kind in kinds:
            try:
                hits += await ways[kind](wanted)
            except (LettaUnavailable, ConfigurationError) as failure:
                failures[kind] = failure
        if len(failures) == len(kinds):
            raise next(iter(failures.values()))
        hits.sort(key=lambda hit: -hit.score)
        notes = [f"{kind}: not searched. {failure}" for kind, failure in failures.items()]
        return Recalled(hits=hits[: wanted.limit], notes=notes)

    async def _knowledge(self, wanted: Wanted) -> list[Hit]:
        author = f"agent:{wanted.agent}" if wanted.agent else None
        return await self._library.search(wanted.query, wanted.limit, project=wanted.project, author=author)

    async def _runs(self, wanted: Wanted) -> list[Hit]:
        await bring_up_to_date(self._caller, self._record)
        async with self._record.read() as db:
            return await search(db, Scope(self._caller, ("episodic",), wanted.project), wanted.query, wanted.limit)

    async def _notes(self, kind: MemoryKind, wanted: Wanted) -> list[Hit]:
        async with self._record.read() as db:
            return await search(db, Scope(self._caller, (kind,), wanted.project), wanted.query, wanted.limit)

    async def _agents(self, wanted: Wanted) -> tuple[Letta, list[KeptAgent]]:
        """Letta, and those agents that it has; raises what keeps it from being used."""
        if isinstance(self._letta, AtlasError):
            raise self._letta
        async with self._record.read() as db:
            known = await read_agents(db, self._caller, self._letta.name)
        lasting = [agent for agent in known if not is_guest(agent.name)]
        return self._letta, [agent for agent in lasting if wanted.agent in (None, agent.name)]

    async def _archives(self, wanted: Wanted) -> list[Hit]:
        letta, agents = await self._agents(wanted)

        async def look(agent: KeptAgent) -> list[Hit]:
            found = await letta.knowledge.search_archive(agent.letta_id, wanted.query.text, wanted.limit)
            return [
                Hit(
                    id=one.id,
                    kind="archive",
                    text=one.text,
                    source=f"archive of {agent.name}",
                    agent=agent.name,
                    score=score_at(place, wanted.query, one.text),
                    when=_moment(one.at),
                    trust=AGENT_TRUST,
                )
                for place, one in enumerate(found)
            ]

        return [hit for hits in await _each(agents, look) for hit in hits]

    async def _blocks(self, wanted: Wanted) -> list[Hit]:
        letta, agents = await self._agents(wanted)

        async def look(agent: KeptAgent) -> list[tuple[KeptAgent, BlockState]]:
            return [(agent, state) for state in await letta.blocks(agent.letta_id)]

        states = {state.id: (agent, state) for each in await _each(agents, look) for agent, state in each}
        ranked = sorted(
            ((*_best(wanted.query, state.value), agent, state) for agent, state in states.values()),
            key=lambda one: -one[0],
        )
        return [
            Hit(
                id=state.id,
                kind="block",
                text=text,
                source=state.label,
                agent=None if _is_shared(agent, state) else agent.name,
                score=score_at(place, wanted.query, text),
                trust=AGENT_TRUST,
            )
            for place, (covered, text, agent, state) in enumerate(ranked[: wanted.limit])
            if covered
        ]


def _kinds(kinds: Sequence[MemoryKind] | None, agent: str | None, project: str | None) -> list[MemoryKind]:
    """The kinds to search: those asked for, else all; without those that belong to no agent, or to no project."""
    narrowed = [ours for given, ours in ((agent, _OF_AN_AGENT), (project, _OF_A_PROJECT)) if given]
    able: list[MemoryKind] = [k for k in KINDS if all(k in ours for ours in narrowed)]
    chosen: list[MemoryKind] = [k for k in able if k in (kinds or KINDS)]
    if not chosen:
        raise InvalidInput(
            f"nothing of {', '.join(kinds or ())} belongs to {'a project' if project else 'one agent'}.",
            argument="kinds",
            allowed=able,
            next_step=f"Leave it out, or choose among: {', '.join(able)}.",
        )
    return chosen


async def _each(agents: Sequence[KeptAgent], look: Callable[[KeptAgent], Awaitable[list[_T]]]) -> list[list[_T]]:
    """What each agent has, in their order, a few at once; one that Letta has lost has nothing."""
    found: dict[str, list[_T]] = {}
    at_once = anyio.CapacityLimiter(_AT_ONCE)

    async def one(agent: KeptAgent) -> None:
        async with at_once:
            try:
                found[agent.name] = await look(agent)
            except LettaLost:
                found[agent.name] = []
            except LettaUnavailable as failure:
                failures.append(failure)
                tasks.cancel_scope.cancel()  # the others would meet with the same

    failures: list[LettaUnavailable] = []
    async with anyio.create_task_group() as tasks:
        for agent in agents:
            tasks.start_soon(one, agent)
    if failures:
        raise failures[0]
    return [found[agent.name] for agent in agents]


def _best(query: Query, value: str) -> tuple[float, str]:
    """The passage of a block that has most of the query's words, after their share."""
    return max(((query.covered(p), p.strip()) for p in passages(value)), key=lambda one: one[0], default=(0.0, ""))


def _is_shared(agent: KeptAgent, state: BlockState) -> bool:
    return state.label in agent.blocks and agent.blocks[state.label].shared


def _moment(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        return None  # Letta writes it for its agent to read
