"""The knowledge graph as the sources of agents' tools use it: plain values in and out, so that they import nothing.

An agent tells facts under its own name, with the trust of an agent and by the run it is in, so that they can be undone
with it. It sees what is for all, for itself and for its team.
"""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from atlas_mcp.constellation.whom import scope_for
from atlas_mcp.errors import InvalidInput
from atlas_mcp.memory.facts import Teller
from atlas_mcp.model.fact import MAX_FACTS, Triple
from atlas_mcp.model.knowledge import AGENT_TRUST
from atlas_mcp.watch.spans import hits, outputs, span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.memory.facts import Facts
    from atlas_mcp.model.fact import Known, Told


class FactDesk:
    """One agent's desk; `scopes` are all, the agent's own, and its team's if it has one."""

    def __init__(self, facts: Facts, agent: str, scopes: Sequence[str], run_id: str | None) -> None:
        self._facts = facts
        self._agent = agent
        self._scopes = scopes
        self._run_id = run_id

    async def relate(self, whom: str = "all", **triple: Any) -> Told:
        """Tell one fact, for `all`, `me` or my `team`. InvalidInput, OverLimit, IllegalChange."""
        scope = scope_for(whom, self._scopes)
        try:
            told = Triple.model_validate(triple)
        except ValidationError as error:
            first = error.errors()[0]
            raise InvalidInput(f"{first['msg']}.", argument=str(first["loc"][0]), next_step="Call again.") from None
        teller = Teller(f"agent:{self._agent}", AGENT_TRUST, self._run_id, scope)
        with span("relate", kind="MEMORY", inputs=triple, author=teller.author, atlas__memory__store="graph") as opened:
            (became,) = await self._facts.relate([told], teller)
            outputs(opened, became.model_dump(mode="json"))
            return became

    async def recall(self, about: str, *, to: str = "", at: str = "", relation: str = "", limit: int = 20) -> Known:
        """What is known of a thing, or how it is connected to another; `at` is a date. InvalidInput."""
        wanted: dict[str, Any] = {"at": _moment(at), "relation": relation or None}
        inputs = {"about": about, "to": to, "at": at}
        with span("recall facts", kind="RETRIEVER", inputs=inputs, atlas__memory__store="graph") as opened:
            if to:
                known = await self._facts.path(about, to, **wanted)
            else:
                known = await self._facts.recall(about, limit=max(1, min(limit, MAX_FACTS)), **wanted)
            outputs(opened, known.model_dump(mode="json"))
            hits(opened, len(known.facts))
            return known


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        step = "Write it like 2024-05-01 or 2024-05-01T12:00:00Z."
        raise InvalidInput(f"{text!r} is no date.", argument="at", next_step=step) from None
