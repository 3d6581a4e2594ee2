"""What becomes of a fact that is told: kept, known already, put in others' place, or kept beside what disputes it.

Promise: nothing that was held is lost, it becomes history. Of a functional relation a subject has one object at a time:
another one ends what was true before, which stays true of its own time. Nobody's word takes the place of what somebody
more trusted said: it is kept beside it, disputed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import IllegalChange, InvalidInput
from atlas_mcp.memory.entities import found_or_made, norm
from atlas_mcp.memory.triples import relations
from atlas_mcp.memory.versions import (
    MOST_SOURCES,
    Ground,
    add_first,
    add_versions,
    end,
    held_on,
    held_versions,
    new_id,
    period_of,
    say_superseded,
    set_sources,
    sources_of,
    supersede,
)
from atlas_mcp.model.fact import FactSource, Outcome
from atlas_mcp.model.period import Period

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Row
    from sqlalchemy.ext.asyncio import AsyncConnection

    from atlas_mcp.memory.entities import Aliases
    from atlas_mcp.memory.triples import Checked
    from atlas_mcp.model.caller import Caller


@dataclass(frozen=True)
class Teller:
    """Who tells facts, how much that counts, and whom they are for."""

    author: str
    trust: float
    run_id: str | None = None
    scope: str = "all"
    project: str = ""


@dataclass(frozen=True)
class Becoming:
    """What became of a told fact, by ids."""

    outcome: Outcome
    fact: str
    superseded: tuple[str, ...] = ()
    contradicts: tuple[str, ...] = ()


class Telling:
    """One fact being told."""

    def __init__(self, db: AsyncConnection, caller: Caller, teller: Teller, aliases: Aliases, at: datetime) -> None:
        self._db = db
        self._caller = caller
        self._teller = teller
        self._aliases = aliases
        self._at = at

    async def tell(self, told: Checked) -> Becoming:
        """Take the fact in. InvalidInput where it names what cannot be told apart, or corrects what there is not."""
        subject, named = await self._ends(told)
        ground = Ground(
            tuple(self._aliases.members([subject])), told.relation, self._teller.scope, self._teller.project
        )
        corrected = await self._corrected(told)
        held = [row for row in await held_on(self._db, self._caller, ground) if row.id != told.corrects]
        same = [row for row in held if self._says_the_same(row, named, told.value)]
        rivals = self._rivals(told, [row for row in held if row not in same], held)
        became = await self._known(told, same) or await self._new(told, (subject, named), same, rivals)
        for row in corrected:
            await end(self._db, row, self._at, became.fact)
            await say_superseded(self._db, row.id, became.fact)
        done = dict.fromkeys((*became.superseded, *(row.id for row in corrected)))
        return Becoming(became.outcome, became.fact, tuple(done), became.contradicts)

    async def _ends(self, told: Checked) -> tuple[str, str | None]:
        async def of(name: str, kind: str, argument: str) -> str:
            where = f"{told.place}.{argument}"
            return await found_or_made(self._db, self._caller, name, kind, self._aliases, self._at, argument=where)

        subject = await of(told.subject, told.subject_kind, "subject")
        return subject, await of(told.object, told.object_kind, "object") if told.object is not None else None

    def _says_the_same(self, row: Row[Any], named: str | None, value: str) -> bool:
        if row.object is None or named is None:
            return row.object is None and named is None and norm(row.value) == norm(value)
        return self._aliases.root(row.object) == named

    async def _corrected(self, told: Checked) -> list[Row[Any]]:
        """What is held of the fact that is put right."""
        if told.corrects is None:
            return []
        place, rows = f"{told.place}.corrects", await held_versions(self._db, self._caller, told.corrects)
        if not rows or rows[0].scope != self._teller.scope:
            step = "Give the id of a fact that recall_facts shows, or leave it out."
            raise InvalidInput(f"no fact {told.corrects!r} is held.", argument=place, next_step=step)
        if rows[0].trust > self._teller.trust:
            step = "Tell it without `corrects`: both are kept, and the caller decides."
            raise IllegalChange("somebody more trusted said it.", argument=place, next_step=step)
        return rows

    # -- the same again

    async def _known(self, told: Checked, same: Sequence[Row[Any]]) -> Becoming | None:
        """The fact that is told already, with what this adds to it; None if there is none such."""
        for row in same:
            if self._is_told_again(told, row):
                continue
            was = period_of(row)
            said = Period(since=told.period.since or was.since, until=told.period.until or was.until)
            if not (said.is_one and said.overlaps(was)):
                continue
            before = sources_of(row)
            known = {(one.source, one.author, one.run_id) for one in before}
            more = [one for one in self._sources(told) if (one.source, one.author, one.run_id) not in known]
            if said == was:
                if more and len(before) < MOST_SOURCES:
                    await set_sources(self._db, row, [*before, *more])
                return Becoming("known", row.id)
            if row.trust <= self._teller.trust:
                await end(self._db, row, self._at, row.id)
                await add_versions(self._db, row, [said], self._at, run_id=self._teller.run_id)
                (new,) = [r for r in await held_versions(self._db, self._caller, row.id) if r.learned_at == self._at]
                await set_sources(self._db, new, [*before, *self._sources(told)])
                return Becoming("changed", row.id)
        return None

    def _is_told_again(self, told: Checked, row: Row[Any]) -> bool:
        """Whether what is told without a time was true before, has ended, and so is true once more."""
        return told.period == Period() and row.true_until is not None and row.true_until <= self._at

    # -- another

    def _rivals(self, told: Checked, others: Sequence[Row[Any]], held: Sequence[Row[Any]]) -> list[Row[Any]] | None:
        """What cannot be true at the same time; None where everything can."""
        functional = told.functional
        if functional is None:
            known = relations()
            named = told.relation in known.changing or told.relation in known.lasting
            functional = named or any(row.functional for row in held)
        return list(others) if functional else None

    async def _new(
        self, told: Checked, ends: tuple[str, str | None], same: Sequence[Row[Any]], rivals: list[Row[Any]] | None
    ) -> Becoming:
        period = self._placed(told, rivals or [], same)
        against = [row for row in rivals or [] if period.overlaps(period_of(row))]
        disputed = [row for row in (*against, *self._ended(told, same)) if row.trust > self._teller.trust]
        weaker = [row for row in against if row not in disputed]
        sources, made = self._sources(told), new_id()
        values = {
            "id": made,
            "caller": self._caller.id,
            "subject": ends[0],
            "relation": told.relation,
            "object": ends[1],
            "value": told.value,
            "text": told.text,
            "scope": self._teller.scope,
            "project": self._teller.project,
            "true_from": period.since,
            "true_until": period.until,
            "learned_at": self._at,
            "sources": [one.model_dump(mode="json") for one in sources],
            "author": self._teller.author,
            "run_id": self._teller.run_id,
            "confidence": told.confidence,
            "trust": self._teller.trust,
            "functional": rivals is not None,
        }
        await add_first(self._db, values, told.subject)
        for row in weaker:
            left = [] if told.lasting else period_of(row).minus([period])
            await supersede(self._db, row, self._at, made, left)
        gone, kept = dict.fromkeys(row.id for row in weaker), dict.fromkeys(row.id for row in disputed)
        return Becoming("disputed" if kept else "new", made, tuple(gone), tuple(kept))

    def _placed(self, told: Checked, rivals: Sequence[Row[Any]], same: Sequence[Row[Any]]) -> Period:
        """When it is true. Of what may change, what is told without a time is true from now on, where something else
        was before; and what began earlier than something known ended when that began."""
        period = told.period
        if told.lasting:
            return period
        if period == Period() and (rivals or any(self._is_told_again(told, row) for row in same)):
            period = Period(since=self._at)
        if period.since is not None and period.until is None:
            later = [row.true_from for row in rivals if row.true_from is not None and row.true_from > period.since]
            period = Period(since=period.since, until=min(later, default=None))
        return period

    def _ended(self, told: Checked, same: Sequence[Row[Any]]) -> list[Row[Any]]:
        """What says the same of other times, by somebody more trusted: else it would have been changed."""
        return [row for row in same if told.period.overlaps(period_of(row))]

    def _sources(self, told: Checked) -> list[FactSource]:
        who = self._teller
        return [
            FactSource(
                source=source,
                author=who.author,
                run_id=who.run_id,
                trust=who.trust,
                confidence=told.confidence,
                at=self._at,
            )
            for source in told.sources or ("",)
        ]
