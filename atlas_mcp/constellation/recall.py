"""Search in all that one constellation remembers: shared knowledge, memories, facts, runs, archives and blocks.

Each kind is searched where it lives: archives by Letta itself, blocks in their present values, all others together in
the record, by words, vectors and the graph. The score of a hit in Letta is made of its place among its own kind and of
the share of the query's words that stand in it (see `memory.search.score_at`), the best of the record's counts by that
share, too: so hits of all kinds stand in one order. What cannot be searched costs a note, and an error only where
nothing else was asked for. Nothing is created by searching: an agent that was never needed remembers nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, get_args

import anyio

from atlas_mcp.constellation.agent_rows import read_agents
from atlas_mcp.constellation.library import checked_query
from atlas_mcp.constellation.names import is_guest
from atlas_mcp.errors import AtlasError, ConfigurationError, InvalidInput, LettaLost, LettaUnavailable
from atlas_mcp.memory.chunks import passages
from atlas_mcp.memory.results import bring_up_to_date
from atlas_mcp.memory.scope import Scope
from atlas_mcp.memory.search import Found, score_at
from atlas_mcp.model.knowledge import AGENT_TRUST, MAX_HITS, Hit, Recalled
from atlas_mcp.model.memory_kinds import MemoryKind, NoteKind
from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.constellation.agent_rows import KeptAgent
    from atlas_mcp.constellation.library import Library
    from atlas_mcp.letta.door import Letta
    from atlas_mcp.letta.states import BlockState
    from atlas_mcp.memory.words import Query
    from atlas_mcp.model.agent import Roster
    from atlas_mcp.store.record import Record

KINDS: tuple[MemoryKind, ...] = get_args(MemoryKind)
_AT_ONCE = 4
_T = TypeVar("_T")
_IN_RECORD: tuple[MemoryKind, ...] = ("knowledge", "fact", *get_args(NoteKind))


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for, and where."""

    query: Query
    limit: int
    agent: str | None = None
    project: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    min_trust: float = 0.0


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
        since: datetime | None = None,
        until: datetime | None = None,
        min_trust: float = 0.0,
    ) -> Recalled:
        """What is found, best first; with `since` and `until` only what was written within these moments, with
        `min_trust` (0 to 1) only what is trusted so much. Raises InvalidInput, OverLimit, UnknownAgent, and
        LettaUnavailable where Letta alone was asked and does not answer.
        """
        asked = checked_query(query)
        if not 1 <= limit <= MAX_HITS:
            raise InvalidInput(f"{limit} is not between 1 and {MAX_HITS}.", argument="limit", next_step="Call again.")
        if not 0 <= min_trust <= 1:
            raise InvalidInput(f"{min_trust:g} is not 0 to 1.", argument="min_trust", next_step="Call again.")
        if agent is not None:
            self._roster.agent(agent)
        since, until = _moments(since, until)
        wanted = Wanted(asked, limit, agent, project, since, until, min_trust)
        where = _kinds(kinds, wanted)
        inputs = {"query": query, "agent": agent, "kinds": list(where), "project": project, "limit": limit}
        with span("search memory", kind="RETRIEVER", inputs=inputs) as opened:
            found = await self._in_all(wanted, where)
            outputs(opened, found.model_dump(mode="json"))
            hits(opened, len(found.hits))
            return found

    async def _in_all(self, wanted: Wanted, kinds: Sequence[MemoryKind]) -> Recalled:
        ways: dict[MemoryKind, Callable[[Wanted], Awaitable[list[Hit]]]] = {
            "archive": self._archives,
            "block": self._blocks,
        }
        found = Found([])
        if any(kind in _IN_RECORD for kind in kinds):
            found = await self._kept(wanted, tuple(kind for kind in _IN_RECORD if kind in kinds))
        all_hits, failures = [*found.hits], dict[MemoryKind, AtlasError]()
        for kind, way in ways.items():
            try:
                all_hits += await self._in_letta(kind, way, wanted) if kind in kinds else []
            except (LettaUnavailable, ConfigurationError) as failure:
                failures[kind] = failure
        if len(failures) == len(kinds):
            raise next(iter(failures.values()))
        best = sorted(all_hits, key=lambda hit: -hit.score)[: wanted.limit]
        notes = [f"{kind}: not searched. {failure}" for kind, failure in failures.items()]
        return Recalled(hits=best, repeated=found.repeated, notes=notes)

    async def _in_letta(
        self, kind: MemoryKind, way: Callable[[Wanted], Awaitable[list[Hit]]], wanted: Wanted
    ) -> list[Hit]:
        with span(f"search {kind}s", kind="RETRIEVER", atlas__memory__store="letta") as opened:
            found = await way(wanted)
            hits(opened, len(found))
            return found

    async def _kept(self, wanted: Wanted, kinds: tuple[MemoryKind, ...]) -> Found:
        if "episodic" in kinds:
            await bring_up_to_date(self._caller, self._record)
        scope = Scope(
            self._caller, kinds, wanted.project,
            since=wanted.since, until=wanted.until, min_trust=wanted.min_trust, agent=wanted.agent,
        )  # fmt: skip
        return await self._library.search(wanted.query, scope, wanted.limit)

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
                    author=f"agent:{agent.name}",
                    score=score_at(place, wanted.query, one.text),
                    when=_moment(one.at),
                    trust=AGENT_TRUST,
                    why={"letta": round(1 / (1 + place), 3)},
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
                author="caller" if _is_shared(agent, state) else f"agent:{agent.name}",
                score=score_at(place, wanted.query, text),
                trust=AGENT_TRUST,
                why={"words": round(covered, 3)},
            )
            for place, (covered, text, agent, state) in enumerate(ranked[: wanted.limit])
            if covered
        ]


def _kinds(kinds: Sequence[MemoryKind] | None, wanted: Wanted) -> list[MemoryKind]:
    """The kinds to search: those asked for, else all; only of the record where it is narrowed to what Letta does not
    know of what it keeps.
    """
    recorded = wanted.project is not None or wanted.since or wanted.until or wanted.min_trust > AGENT_TRUST
    able = list(_IN_RECORD if recorded else KINDS)
    chosen: list[MemoryKind] = [kind for kind in able if kind in (kinds or KINDS)]
    if not chosen:
        why = "belongs to a project" if wanted.project is not None else "has a time, or that much trust"
        raise InvalidInput(
            f"nothing of {', '.join(kinds or ())} {why}.",
            argument="kinds",
            allowed=able,
            next_step=f"Leave it out, or choose among: {', '.join(able)}.",
        )
    return chosen


def _moments(since: datetime | None, until: datetime | None) -> tuple[datetime | None, datetime | None]:
    """Both in UTC, unless they say another zone; InvalidInput where none can be between them."""
    since, until = (one.replace(tzinfo=one.tzinfo or UTC) if one else None for one in (since, until))
    if since and until and since > until:
        raise InvalidInput("it is later than `until`.", argument="since", next_step="Exchange the two.")
    return since, until


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
