"""What an agent remembers by its own decision: judged before it is kept, under its own name, by the run it is in.

What is to last (facts, ways of working) must reach the rubric's mark; words of a material or of shared knowledge count
as evidence, the agent's own word counts less. What is refused is kept aside for a while with the reason, for the caller
to see and correct. An order to its reader is refused, whatever it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args
from uuid import NAMESPACE_OID, uuid5

from pydantic import ValidationError

from atlas_mcp.constellation.whom import scope_for
from atlas_mcp.errors import InvalidInput
from atlas_mcp.memory import rubric
from atlas_mcp.memory.likeness import Words, says_the_same
from atlas_mcp.memory.rubric import Proof
from atlas_mcp.model.knowledge import AGENT_TRUST
from atlas_mcp.model.learning import LearningKind, Proposal
from atlas_mcp.model.memory_item import QUOTED_TRUST, MemoryItem, New
from atlas_mcp.model.memory_kinds import NoteKind
from atlas_mcp.model.orders import is_order
from atlas_mcp.watch.spans import outputs, span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.memory.learnings import Learnings
    from atlas_mcp.memory.memories import Memories

_JUDGED: dict[NoteKind, LearningKind] = {"long_term": "fact", "procedural": "procedure"}
_OWN_WORD = 3.5
"""What an agent's own word is worth as evidence, of 5."""
_SHOWN = 60


class NoteDesk:
    """One agent's desk; `scopes` are all, the agent's own, and its team's if it has one; `texts` gives the materials
    and shared texts of a name.
    """

    def __init__(
        self,
        memories: Memories,
        learnings: Learnings,
        agent: str,
        scopes: Sequence[str],
        run_id: str | None,
        texts: Callable[[str], Awaitable[Sequence[str]]],
    ) -> None:
        self._memories = memories
        self._learnings = learnings
        self._agent = agent
        self._scopes = scopes
        self._run_id = run_id
        self._texts = texts

    async def remember(
        self,
        text: str,
        kind: str,
        *,
        about: str = "",
        whom: str = "all",
        key: str = "",
        source: str = "",
        quote: str = "",
    ) -> MemoryItem:
        """Keep it, or say in `reason` why not; what was remembered already comes as it is. InvalidInput, OverLimit."""
        scope, note = scope_for(whom, self._scopes), _kind(kind)
        inputs = {"text": text, "kind": kind, "about": about, "whom": whom, "key": key, "source": source}
        marks = {"author": f"agent:{self._agent}", "atlas.memory.store": "record"}
        with span("remember", kind="MEMORY", inputs=inputs, **marks) as opened:
            made = await self._keep(New(
                kind=note, text=text, about=about, scope=scope, key=key or None, source=source, quote=quote,
                author=f"agent:{self._agent}", run_id=self._run_id,
            ))  # fmt: skip
            outputs(opened, made.model_dump(mode="json"))
            return made

    async def _keep(self, new: New) -> MemoryItem:
        if new.kind not in _JUDGED:
            reason = "it gives its reader orders" if is_order(new.text) else ""
            return await self._memories.add(self._refused(new, reason) if reason else new)
        proposal, proof = _proposal(new), await self._prove(new)
        near = [one for one in await self._learnings.near(new.text) if not one.replaced_by(new.text, new.key or "")]
        known = [one.text for one in near]
        reason = rubric.refusal(proposal, proof, "", known, ())
        if reason == rubric.REMEMBERED:
            words = Words(new.text)
            same = next((one.memory for one in near if one.memory and says_the_same(words, Words(one.text))), None)
            if same is not None:
                return same
        scores = rubric.scores(proposal, proof, known)
        reason = reason or rubric.shortfall(scores)
        judged = new.model_copy(
            update={
                "scores": scores,
                "score": rubric.total(scores),
                "trust": AGENT_TRUST if proof.from_run else QUOTED_TRUST,
            }
        )
        return await self._memories.add(self._refused(judged, reason) if reason else judged)

    def _refused(self, new: New, reason: str) -> New:
        """The same refused again is kept once."""
        what = "\n".join((self._agent, new.kind, new.scope, new.text, new.source, new.quote, self._memories.caller.id))
        return new.model_copy(update={"reason": reason, "id": f"mem-{uuid5(NAMESPACE_OID, what)}"})

    async def _prove(self, new: New) -> Proof:
        """Whether the words are really in the text that is named; without words it is the agent's own."""
        if not new.quote.strip():
            return Proof(worth=_OWN_WORD, from_run=True)
        named = await self._texts(new.source)
        if not named:
            return Proof(why_not=f"there is no text {new.source[:_SHOWN]!r} to quote")
        if not any(_flat(new.quote) in _flat(text) for text in named):
            return Proof(why_not=f"its quote is not in {new.source[:_SHOWN]!r}")
        return Proof(worth=5.0, from_run=new.kind == "procedural")


def _flat(text: str) -> str:
    return " ".join(text.split()).casefold()


def _kind(kind: str) -> NoteKind:
    for known in get_args(NoteKind):
        if known == kind:
            return known
    raise InvalidInput(
        f"{kind!r} is no kind of memory.", argument="kind", next_step=f"Choose: {', '.join(get_args(NoteKind))}."
    )


def _proposal(new: New) -> Proposal:
    given = {"text": new.text.strip(), "about": new.about, "source": new.source, "quote": new.quote, "confidence": 1.0}
    try:
        return Proposal.model_validate(given | {"kind": _JUDGED[new.kind], "key": new.key or ""})
    except ValidationError as error:
        first = error.errors()[0]
        raise InvalidInput(
            f"{first['msg']}.", argument=str(first["loc"][0]), next_step="Say one thing, in a sentence or two."
        ) from None
