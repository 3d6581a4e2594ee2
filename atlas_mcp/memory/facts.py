"""One caller's knowledge graph: facts told, found by the things they are about, walked over, taken back.

Promise: what is told is there whole or not at all, and is found from then on. Questions of what was true when, and of
what was held when, are answered from history; nothing but `forget` deletes any of it. Every query is bound to the
caller, and to what one who asks for an agent may see. The record answers; a graph database that is fed from it may walk
in its place, and what it finds counts only as far as the record still holds it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from opentelemetry import trace
from sqlalchemy import delete, func, or_, select, update

from atlas_mcp.errors import InvalidInput, Unavailable
from atlas_mcp.memory.edges import BEST_FIRST, RecordEdges, View
from atlas_mcp.memory.entities import (
    Aliases,
    called,
    found_or_made,
    in_parts,
    mentioned,
    merge,
    names_like,
    one_called,
    remove_unused,
    shown,
    unmerge,
)
from atlas_mcp.memory.fact_rows import contradict, disputes, rows_of, shown_facts
from atlas_mcp.memory.paths import around, shortest
from atlas_mcp.memory.telling import Teller, Telling
from atlas_mcp.memory.triples import check_text, checked, in_utc, relation_name
from atlas_mcp.memory.undoing import Undoing, told_by_run
from atlas_mcp.memory.versions import FACT, unfind
from atlas_mcp.memory.words import Query
from atlas_mcp.model.fact import (
    MAX_DEPTH,
    MAX_ENTITY,
    MAX_FACTS,
    MAX_HOPS,
    MAX_TRIPLES,
    Entity,
    Fact,
    FactHit,
    Known,
    Merged,
    Overview,
    Told,
)
from atlas_mcp.store.memory_tables import entity, fact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.edges import Edge, Edges
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.fact import Triple
    from atlas_mcp.store.record import Record

__all__ = ["FACT", "Facts", "Teller", "View", "Walker"]

_CONSIDERED = 100
_WALK = {"mlflow.spanType": "RETRIEVER", "atlas.memory.store": "neo4j"}
_tracer = trace.get_tracer("atlas")
_T = TypeVar("_T")


class Walker(Protocol):
    """A graph database that is fed from the record."""

    async def walk(self, way: Callable[[Edges], Awaitable[_T]]) -> _T | None:
        """Where that way leads; None when it is not up to date, or does not answer: then the record is asked."""
        ...


class Facts:
    """One caller's facts. `scopes` None sees all of them, else those of these scopes."""

    def __init__(
        self,
        caller: Caller,
        record: Record,
        *,
        scopes: tuple[str, ...] | None = None,
        walker: Walker | None = None,
    ) -> None:
        self._caller = caller
        self._record = record
        self._scopes = scopes
        self._walker = walker

    def view(self, **wanted: Any) -> View:
        """What is seen of them: see `View`."""
        moments = {name: in_utc(wanted.pop(name, None)) for name in ("at", "known_at")}
        if (relation := wanted.pop("relation", None)) is not None:
            wanted["relation"] = relation_name(relation, "relation")
        return View(self._caller, scopes=self._scopes, **moments, **wanted)

    # -- telling, and taking back

    async def relate(self, triples: Sequence[Triple], teller: Teller) -> list[Told]:
        """Take these facts in, all or none; what became of each. InvalidInput, OverLimit and IllegalChange say which
        cannot be taken, as `facts[0]` and so on.
        """
        if not 1 <= len(triples) <= MAX_TRIPLES:
            step = f"Tell 1 to {MAX_TRIPLES} at once."
            raise InvalidInput(f"there are {len(triples)}.", argument="facts", next_step=step)
        every = [checked(triple, f"facts[{n}]") for n, triple in enumerate(triples)]
        async with self._record.write(of=self._caller.id) as db:
            aliases, now = await Aliases.read(db, self._caller), datetime.now(UTC)
            became = [  # each has a moment of its own, by which what it took the place of is known
                await Telling(db, self._caller, teller, aliases, now + timedelta(microseconds=n)).tell(one)
                for n, one in enumerate(every)
            ]
            newest = await self._newest(db, [one.fact for one in became], aliases)
        return [
            Told(
                outcome=one.outcome,
                fact=newest[one.fact],
                superseded=list(one.superseded),
                contradicts=list(one.contradicts),
            )
            for one in became
        ]

    async def told_by(self, run_id: str) -> list[Fact]:
        """What the run told and is held, alone or with others."""
        async with self._record.read() as db:
            rows = [row for row in await told_by_run(db, self._caller, run_id) if row.superseded_at is None]
            return await shown_facts(db, self._caller, rows, await Aliases.read(db, self._caller))

    async def undo_run(self, db: AsyncConnection, run_id: str) -> list[str]:
        """Take back what the run told; the ids of what is held no more. `db` is a write of the caller's rows."""
        return await Undoing(db, self._caller, datetime.now(UTC)).run(run_id)

    async def undo(self, db: AsyncConnection, fact_id: str) -> list[str]:
        """Take back one fact, and hold again what it took the place of; empty if there is none such."""
        return await Undoing(db, self._caller, datetime.now(UTC)).fact(fact_id)

    async def forget(self, db: AsyncConnection, ids: Collection[str]) -> list[Fact]:
        """Delete these facts with all of their history, and things that nothing else is about; what was deleted, each
        version of it. `db` is a write of the caller's rows."""
        gone: list[Fact] = []
        aliases = await Aliases.read(db, self._caller)
        for some in in_parts(ids):
            mine = (fact.c.caller == self._caller.id, fact.c.id.in_(some))
            rows = list(await db.execute(select(fact).where(*mine)))
            gone += await shown_facts(db, self._caller, rows, aliases)
            await db.execute(delete(fact).where(*mine))
            by = (fact.c.caller == self._caller.id, fact.c.superseded_by.in_(some))
            await db.execute(update(fact).where(*by).values(superseded_by=None))
            await unfind(db, [row.id for row in rows])
            await remove_unused(db, self._caller, {end for row in rows for end in (row.subject, row.object) if end})
        return gone

    # -- asking

    async def recall(
        self,
        about: str,
        *,
        at: datetime | None = None,
        known_at: datetime | None = None,
        relation: str | None = None,
        project: str | None = None,
        history: bool = False,
        limit: int = 20,
    ) -> Known:
        """Facts about a thing, or about the things that a question mentions; the most trusted and newest first.

        `at`: what was true then; else what has not ended. `known_at`: what was held then. `history`: all that was ever
        held. A thing that nobody told anything about is no error: a note names those that are called alike.
        """
        about = check_text(about, "about", 10 * MAX_ENTITY)
        _check(limit, MAX_FACTS, "limit")
        view = self.view(at=at, known_at=known_at, relation=relation, project=project, history=history)
        async with self._record.read() as db:
            aliases = await Aliases.read(db, self._caller)
            roots = await self._meant(db, about, aliases)
            if not roots:
                return Known(facts=[], notes=[await self._unknown(db, about)])
            some = aliases.members(roots)
            query = select(fact).where(view.condition(), or_(fact.c.subject.in_(some), fact.c.object.in_(some)))
            rows = list(await db.execute(query.order_by(*BEST_FIRST).limit(limit + 1)))
            facts = await shown_facts(db, self._caller, rows[:limit], aliases)
            things = list((await shown(db, self._caller, roots, aliases)).values())
            return Known(facts=facts, entities=things, more=len(rows) > limit, notes=disputes(facts, view))

    async def neighbourhood(
        self, name: str, *, kind: str = "", depth: int = 1, limit: int = 50, **wanted: Any
    ) -> Known:
        """What is around a thing: facts at most `depth` (1 to 3) steps away, the nearest first, at most `limit`.

        `wanted` is `at`, `known_at`, `relation` and `project`, as in `recall`. InvalidInput for what nobody knows.
        """
        _check(depth, MAX_DEPTH, "depth")
        _check(limit, MAX_FACTS, "limit")
        view, (start,) = self.view(**wanted), await self._roots((name, kind, "about"))

        async def way(edges: Edges) -> tuple[list[Edge], dict[str, int], bool]:
            return await around(edges, view, [start], depth, limit)

        return await self._walked(view, way)

    async def path(self, start: str, end: str, *, hops: int = MAX_HOPS, **wanted: Any) -> Known:
        """How two things are connected: a shortest way over at most `hops` (1 to 4) facts, in order; none if they are
        not. InvalidInput for a thing that nobody knows, or for one thing twice.
        """
        _check(hops, MAX_HOPS, "hops")
        view, (one, other) = self.view(**wanted), await self._roots((start, "", "about"), (end, "", "to"))
        if one == other:
            raise InvalidInput("it is the thing itself.", argument="to", next_step="Name two different things.")

        async def way(edges: Edges) -> tuple[list[Edge], dict[str, int], bool]:
            found = await shortest(edges, view, one, other, hops)
            return found.edges, {thing: n for n, thing in enumerate(found.things)}, not found.looked_everywhere

        found = await self._walked(view, way)
        if found.facts:
            return found.model_copy(update={"more": False})
        told = f"{start} and {end} are not connected by {hops} facts or fewer"
        searched = "; but there was too much to look everywhere" if found.more else ""
        return Known(facts=[], more=found.more, notes=[f"{told}{searched}."])

    async def related(
        self, db: AsyncConnection, text: str, limit: int, *, view: View | None = None, depth: int = 2
    ) -> list[FactHit]:
        """Facts around the things that a text mentions, best first: those near that have most of its words."""
        view = view or self.view()
        aliases = await Aliases.read(db, self._caller)
        starts = dict.fromkeys(map(aliases.root, await mentioned(db, self._caller, text)))
        if not starts:
            return []
        found = await around(RecordEdges(db, aliases), view, list(starts), depth, _CONSIDERED)
        rows = await rows_of(db, view, found.edges)
        asked, hits = Query(text), list[FactHit]()
        for one, row in zip(await shown_facts(db, self._caller, rows, aliases), rows, strict=True):
            ends = (aliases.root(row.subject), aliases.root(row.object or row.subject))
            far = min(found.distance.get(end, depth) for end in ends) + 1
            score = (1 + asked.covered(one.text)) / 2**far
            hits.append(FactHit(fact=one, score=round(score * one.trust, 4), distance=far))
        return sorted(hits, key=lambda hit: (-hit.score, hit.fact.id, hit.fact.version))[:limit]

    async def overview(self, limit: int = 20) -> Overview:
        """How much is held, and the things that most is held of, at most `limit` (1 to 200)."""
        _check(limit, MAX_FACTS, "limit")
        seen = self.view().condition()
        async with self._record.read() as db:
            aliases = await Aliases.read(db, self._caller)
            facts = (await db.execute(select(func.count()).select_from(fact).where(seen))).scalar_one()
            mine = entity.c.caller == self._caller.id
            things = (await db.execute(select(func.count()).select_from(entity).where(mine))).scalar_one()
            count = func.count().label("n")
            of_each = select(fact.c.subject, count).where(seen).group_by(fact.c.subject)
            counts: dict[str, int] = {}
            for one, n in await db.execute(of_each.order_by(count.desc(), fact.c.subject).limit(2 * limit)):
                counts[aliases.root(one)] = counts.get(aliases.root(one), 0) + n
            best = await shown(db, self._caller, sorted(counts, key=lambda one: -counts[one])[:limit], aliases)
        known = [one.model_copy(update={"facts": counts[one.id]}) for one in best.values()]
        return Overview(entities=things - len(aliases.into), facts=facts, known_best=known)

    # -- things that are one, and that are not

    async def merge(self, keep: str, other: str, *, keep_kind: str = "", other_kind: str = "") -> Merged:
        """Let two things be one from now on, under the first one's name; `split` undoes it. InvalidInput for a thing
        that nobody knows, IllegalChange if they are one. What now contradicts is told, and nothing of it changed.
        """
        one, two = await self._roots((keep, keep_kind, "keep"), (other, other_kind, "other"))
        async with self._record.write(of=self._caller.id) as db:
            await merge(db, self._caller, one, two)
            aliases = await Aliases.read(db, self._caller)
            mine = (fact.c.subject.in_(aliases.members([one])), fact.c.functional)
            rows = list(await db.execute(select(fact).where(self.view().condition(), *mine)))
            against = [row for row in rows if any(contradict(row, r, aliases) for r in rows)]
            (whole,) = (await shown(db, self._caller, [one], aliases)).values()
            return Merged(entity=whole, contradictions=await shown_facts(db, self._caller, against, aliases))

    async def split(self, name: str, *, kind: str = "") -> Entity:
        """Let what was merged under that name be a thing of its own again, with its own facts. InvalidInput."""
        async with self._record.write(of=self._caller.id) as db:
            one = await unmerge(db, self._caller, name, kind)
            (thing,) = (await shown(db, self._caller, [one], await Aliases.read(db, self._caller))).values()
            return thing

    async def split_off(self, name: str, facts: Collection[str], into: str, *, kind: str = "") -> Entity:
        """Let these facts about a thing be about another one, of which nobody knew yet: it was two. `merge` undoes it.
        InvalidInput for facts that are not about it, or a name that is taken; then nothing was changed.
        """
        (old,), into = await self._roots((name, "", "entity")), check_text(into, "into", MAX_ENTITY)
        async with self._record.write(of=self._caller.id) as db:
            aliases, now = await Aliases.read(db, self._caller), datetime.now(UTC)
            if await called(db, self._caller, into, kind):
                step = "Name it so that the two can be told apart; or merge the two."
                raise InvalidInput(f"there is a thing {into!r} already.", argument="into", next_step=step)
            some = aliases.members([old])
            mine = (fact.c.caller == self._caller.id, fact.c.id.in_(facts))
            about = (*mine, or_(fact.c.subject.in_(some), fact.c.object.in_(some)))
            found = set((await db.execute(select(fact.c.id).where(*about))).scalars())
            missing = sorted(set(facts) - found)
            if missing or not facts:
                which = f"{', '.join(missing)} is not about {name!r}" if missing else "none is named"
                raise InvalidInput(f"{which}.", argument="facts", next_step="Give ids that recall_facts shows.")
            new = await found_or_made(db, self._caller, into, kind, aliases, now, argument="into")
            for end in (fact.c.subject, fact.c.object):
                await db.execute(update(fact).where(*mine, end.in_(some)).values({end: new}))
            (thing,) = (await shown(db, self._caller, [new], aliases)).values()
            return thing

    # -- within

    async def _walked(
        self, view: View, way: Callable[[Edges], Awaitable[tuple[list[Edge], dict[str, int], bool]]]
    ) -> Known:
        """Where the way leads, over the walker's graph if it has one that serves, else over the record."""
        found = None
        if self._walker is not None:
            try:
                with _tracer.start_as_current_span("walk the graph", attributes=_WALK) as walking:
                    found = await self._walker.walk(way)
                    walking.set_attribute("atlas.memory.hits", len(found[0]) if found else 0)
            except Unavailable:
                found = None
        async with self._record.read() as db:
            aliases = await Aliases.read(db, self._caller)
            rows = await rows_of(db, view, found[0]) if found else []
            if found is None or len(rows) < len(found[0]):
                found = await way(RecordEdges(db, aliases))
                rows = await rows_of(db, view, found[0])
            facts = await shown_facts(db, self._caller, rows, aliases)
            things = list((await shown(db, self._caller, found[1], aliases, found[1])).values())
        return Known(facts=facts, entities=things, more=found[2], notes=disputes(facts, view))

    async def _newest(self, db: AsyncConnection, ids: Collection[str], aliases: Aliases) -> dict[str, Fact]:
        mine = (fact.c.caller == self._caller.id, fact.c.id.in_(ids))
        rows = list(await db.execute(select(fact).where(*mine).order_by(fact.c.version)))
        return {one.id: one for one in await shown_facts(db, self._caller, rows, aliases)}

    async def _meant(self, db: AsyncConnection, about: str, aliases: Aliases) -> list[str]:
        """The things of that name, or else those that the text mentions."""
        named = [row.id for row in await called(db, self._caller, about)]
        return list(dict.fromkeys(map(aliases.root, named or await mentioned(db, self._caller, about))))

    async def _roots(self, *named: tuple[str, str, str]) -> list[str]:
        """The things of these names and kinds, each with what its argument is called. InvalidInput."""
        found: list[str] = []
        async with self._record.read() as db:
            aliases = await Aliases.read(db, self._caller)
            for name, kind, argument in named:
                name = check_text(name, argument, MAX_ENTITY)
                one = await one_called(db, self._caller, name, kind, aliases, argument=argument)
                if one is None:
                    raise InvalidInput(await self._unknown(db, name), argument=argument)
                found.append(one)
        return found

    async def _unknown(self, db: AsyncConnection, name: str) -> str:
        like = await names_like(db, self._caller, name)
        return f"nothing is known of {name!r}." + (f" Names like it: {', '.join(like)}." if like else "")


def _check(number: int, most: int, argument: str) -> None:
    if not 1 <= number <= most:
        raise InvalidInput(f"{number} is not between 1 and {most}.", argument=argument, next_step="Call again.")
