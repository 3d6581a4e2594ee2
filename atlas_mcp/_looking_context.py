"""What an agent was given in a turn, and from where: read back from its message, and from its trace if there is one."""

from __future__ import annotations

import json
from collections import defaultdict
from typing import TYPE_CHECKING, Any, cast

from atlas_mcp.model.look import Omission, Piece
from atlas_mcp.model.sections import sections

if TYPE_CHECKING:
    from collections.abc import Sequence

    from atlas_mcp.runs.closely import KeptTurn
    from atlas_mcp.watch.seen_spans import Seen

MODEL_CALLS = frozenset({"CHAT_MODEL", "LLM"})
_FROM = {
    "goal": "the caller",
    "criteria": "the caller",
    "materials": "the caller",
    "material": "the caller",
    "task": "whoever gave the work",
    "context": "whoever gave the work",
    "restrictions": "whoever gave the work",
    "report": "an earlier part, or a worker",
    "said": "other agents",
    "statement": "other agents",
    "result": "this run",
    "draft": "this run",
    "journal": "this run",
    "recalled": "memory",
    "feedback": "the raters, or the caller",
    "teams": "the roster",
    "workers": "the roster",
}
"""Where a section of a prompt comes from, unless it says so itself; all others are ATLAS' own."""


def pieces(message: str, spans: Sequence[Seen]) -> list[Piece]:
    """What stood in the turn's message, and before it, as far as the first model call was traced."""
    named = ("name", "id", "title", "part", "team", "agent")
    found = [
        Piece(
            tag=one.tag,
            name=next((one.attributes[key] for key in named if one.attributes.get(key)), ""),
            source=one.attributes.get("source") or _FROM.get(one.tag, "ATLAS"),
            text=one.body,
        )
        for one in sections(message)
    ]
    whole = found or [Piece(tag="message", source="the caller", text=message)]
    return _before(spans) + whole


def _before(spans: Sequence[Seen]) -> list[Piece]:
    """The system prompt, and what was said in the conversation before this turn."""
    first = next((span for span in spans if span.kind in MODEL_CALLS), None)
    told = _messages(first.given) if first else []
    system = "\n\n".join(text for role, text in told if role == "system")
    last = max((n for n, (role, _) in enumerate(told) if role in ("human", "user")), default=len(told))
    earlier = [f"{role}: {text}" for role, text in told[:last] if role != "system"]
    found = [
        Piece(tag="system prompt", source="the persona and core memory", text=system),
        Piece(tag="conversation", name=f"{len(earlier)} messages", source="Letta", text="\n\n".join(earlier)),
    ]
    return [piece for piece in found if piece.text]


def _messages(text: str) -> list[tuple[str, str]]:
    """Role and words of the messages in a JSON list, as many as are whole: a long one is cut off in its trace."""
    read, found, at = json.JSONDecoder().raw_decode, list[tuple[str, str]](), 1
    while (at := text.find("{", at)) > 0:
        try:
            one, at = read(text, at)
            found.append((str(one["role"]), str(one["content"])))
        except (ValueError, KeyError):
            break
    return found


def contexts(spans: Sequence[Seen]) -> dict[str, list[Seen]]:
    """The spans in which what an agent is given was chosen, by the agent."""
    found: dict[str, list[Seen]] = defaultdict(list)
    for span in spans:
        if span.name.startswith("context of "):
            found[span.name.removeprefix("context of ")].append(span)
    return found


def left_out(contexts: Sequence[Seen], row: KeptTurn) -> list[Omission] | None:
    """What the agent was not given: by the last choice that was made for it before the turn, from the same items."""
    ids = {one.attributes.get("id", "") for one in sections(row.message, "recalled")}
    before = [one for one in contexts if one.end / 1e9 <= row.started_at.timestamp()]
    for one in reversed(before):
        told = _read(one.gave)
        items: Any = told.get("items") or {}
        if {name for names in items.values() for name in names} == ids:
            left: list[Any] = told.get("left_out") or []
            return [Omission.model_validate(item) for item in left]
    return None


def _read(text: str) -> dict[str, Any]:
    try:
        held = json.loads(text)
    except ValueError:
        return {}
    return cast("dict[str, Any]", held) if isinstance(held, dict) else {}
