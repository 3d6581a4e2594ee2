"""The knowledge graph as callers use it: `Atlas.facts`. Everything here is a span of the trace.

Every method takes the caller first; what belongs to another caller does not exist. What the caller tells counts more
than what agents do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from atlas_mcp._keeper import RoomsKeeper
    from atlas_mcp.memory.facts import Facts as CallersFacts
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.fact import Entity, Known, Merged, Overview, Told, Triple


class Facts:
    """What is known of the world, of each of one home's callers."""

    def __init__(self, keeper: RoomsKeeper) -> None:
        self._keeper = keeper

    async def relate(self, caller: Caller, triples: Sequence[Triple], *, project: str | None = None) -> list[Told]:
        """Take these facts in, all or none, and say what became of each. Of a functional relation another object
        supersedes what was held, which stays in the history. InvalidInput, OverLimit.
        """
        from atlas_mcp.memory.facts import Teller
        from atlas_mcp.model.knowledge import CALLER_TRUST

        inputs = {"facts": [one.model_dump(mode="json", exclude_defaults=True) for one in triples], "project": project}
        with span("relate", kind="MEMORY", inputs=inputs, atlas__memory__store="graph") as opened:
            teller = Teller("caller", CALLER_TRUST, project=(project or "").strip())
            told = await (await self._of(caller)).relate(triples, teller)
            outputs(opened, [one.model_dump(mode="json", include={"outcome", "superseded"}) for one in told])
            return told

    async def recall(
        self,
        caller: Caller,
        about: str,
        *,
        to: str | None = None,
        depth: int = 1,
        relation: str | None = None,
        at: datetime | None = None,
        known_at: datetime | None = None,
        history: bool = False,
        project: str | None = None,
        limit: int = 20,
    ) -> Known:
        """Facts about a thing or about those that a question mentions; with `depth` over 1 also those around them, with
        `to` a shortest way from one thing to the other. See `memory.facts.Facts`. InvalidInput, OverLimit.
        """
        when: dict[str, Any] = {"at": at, "known_at": known_at, "project": project}
        inputs = {"about": about, "to": to, "depth": depth, "relation": relation, "history": history, "limit": limit}
        inputs |= {name: str(one) for name, one in when.items() if one is not None}
        with span("recall facts", kind="RETRIEVER", inputs=inputs, atlas__memory__store="graph") as opened:
            facts = await self._of(caller)
            if to is not None:
                known = await facts.path(about, to, **when)
            elif depth != 1:
                known = await facts.neighbourhood(about, depth=depth, limit=limit, relation=relation, **when)
            else:
                known = await facts.recall(about, relation=relation, history=history, limit=limit, **when)
            outputs(opened, known.model_dump(mode="json"))
            hits(opened, len(known.facts))
            return known

    async def around(self, caller: Caller, name: str, *, limit: int = 50) -> Known:
        """What is held of one thing, and what it is related to. InvalidInput for one that nobody knows."""
        return await (await self._of(caller)).neighbourhood(name, limit=limit)

    async def overview(self, caller: Caller, *, limit: int = 20) -> Overview:
        """How much is held, and the things that most is held of."""
        return await (await self._of(caller)).overview(limit)

    async def merge(
        self, caller: Caller, keep: str, other: str, *, keep_kind: str = "", other_kind: str = ""
    ) -> Merged:
        """Let two things be one, under the first name, until `split`. InvalidInput, IllegalChange."""
        with span("merge entities", kind="MEMORY", inputs={"keep": keep, "other": other}):
            return await (await self._of(caller)).merge(keep, other, keep_kind=keep_kind, other_kind=other_kind)

    async def split(
        self, caller: Caller, name: str, *, kind: str = "", facts: Sequence[str] = (), into: str | None = None
    ) -> Entity:
        """Let what was merged under that name be a thing of its own again. Or, with `into`, let these of its facts be
        about a new thing of that name and kind, since it was two; `merge` undoes that. InvalidInput.
        """
        with span("split entity", kind="MEMORY", inputs={"entity": name, "facts": [*facts], "into": into}):
            mine = await self._of(caller)
            if into is None:
                return await mine.split(name, kind=kind)
            return await mine.split_off(name, facts, into, kind=kind)

    async def _of(self, caller: Caller) -> CallersFacts:
        return (await self._keeper.rooms()).memory.facts(caller)
