"""What a tool is given to take outside, and what it gave: looked at by the guard, before anybody has it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import ToolFailed
from atlas_mcp.guard.entering import refuse
from atlas_mcp.guard.layers import About
from atlas_mcp.watch import spans

if TYPE_CHECKING:
    from collections.abc import Mapping

    from atlas_mcp.constellation.tool_turn import ToolTurn
    from atlas_mcp.model.caller import Caller


async def leaving(
    turn: ToolTurn, tool: str, arguments: Mapping[str, Any], span: spans.Span, caller: Caller | None
) -> None:
    """ToolFailed where the arguments hold what must not leave; it is told in the journal and in the span."""
    if turn.calls is None:
        return
    found = await turn.calls.look(arguments, About("call", name=tool, caller=caller, run_id=turn.run_id))
    if found is None:
        return
    said = f"call of {tool!r}: {found.told()}; it was not made"
    await _tell(turn, tool, said, [found.model_dump(mode="json", exclude_defaults=True)], span, repr(arguments))
    raise ToolFailed(
        f"{tool} was not called: {found.text}, which must not leave (rule {found.rule}). Nothing was sent. Call it "
        "without that, or go on without it."
    )


async def entered(turn: ToolTurn, tool: str, answer: str, span: spans.Span, *, outside: bool = False) -> str:
    """The answer as it may go on; what was found is told in the journal and in the span. ToolFailed if it may not.

    More than rules look only at what comes from `outside`: materials and memories were looked at where they entered.
    """
    if turn.entering is None:
        return answer
    checked = turn.entering.look("result", tool, answer)
    if outside and turn.entering.judges:
        about = About("result", name=tool, caller=turn.run.caller if turn.run else None, run_id=turn.run_id)
        checked = await turn.entering.judged(checked, about)
    if not checked.findings:
        return answer
    await _tell(turn, tool, checked.told(), checked.data(), span, answer)
    refuse(checked)
    return checked.marked


async def _tell(turn: ToolTurn, tool: str, said: str, found: list[dict[str, Any]], span: spans.Span, text: str) -> None:
    """Tell of finds in the text, once in a turn."""
    spans.note(span, "atlas.guard.findings", said)
    if turn.tell is not None:
        same = hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=8).hexdigest()
        key = f"{turn.id}:guard:{tool}:{same}"
        await turn.tell("atlas", "guard_finding", said, turn_id=turn.id or None, key=key, findings=found)
