"""The system prompt of a turn: the agent's own text first, then its memory blocks and what its archive holds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.embedded.memory import WorkingBlock

DEFAULT_SYSTEM = """<base_instructions>
You are an agent with memory of your own that lasts beyond this conversation.
Memory blocks are always before you, below. Keep them short, true and useful: change them with your memory tools when
you learn something that will matter later, and stay within their limits.
Your archive holds what does not need to be before you all the time: search it when you need it, add to it what is worth
keeping. Older messages can be found by searching the conversation.
Answer plainly. When a tool fails, read its message and mend the cause.
</base_instructions>"""


_OWN_TAG = re.compile(
    r"<(?=\s*/?\s*(?:block|value|description|metadata|memory_blocks|memory_metadata|summary_of_older_messages)\b)",
    re.IGNORECASE,
)


def compile_prompt(system: str, blocks: Iterable[WorkingBlock], *, archived: int, earlier: int, summary: str) -> str:
    """The whole system prompt. Empty sections are left out. `earlier` messages are no longer in the context."""
    parts = [system.strip(), _memory(blocks), _counts(archived, earlier), _summary(summary)]
    return "\n\n".join(part for part in parts if part)


def _memory(blocks: Iterable[WorkingBlock]) -> str:
    rendered = "\n".join(_block(block) for block in blocks)
    return f"<memory_blocks>\n{rendered}\n</memory_blocks>" if rendered else ""


def _block(block: WorkingBlock) -> str:
    facts = [f"chars_current={len(block.value)}", f"chars_limit={block.limit}"]
    if block.read_only:
        facts.append("read_only=true")
    about = f"<description>{_inside(block.description)}</description>\n" if block.description else ""
    metadata = f"<metadata>{' '.join(facts)}</metadata>\n"
    return f'<block label="{block.label}">\n{about}{metadata}<value>\n{_inside(block.value)}\n</value>\n</block>'


def _counts(archived: int, earlier: int) -> str:
    lines: list[str] = []
    if archived:
        lines.append(f"Your archive holds {archived} passages: archival_memory_search finds them.")
    if earlier:
        lines.append(f"{earlier} older messages are no longer before you: conversation_search finds their words.")
    return "<memory_metadata>\n" + "\n".join(lines) + "\n</memory_metadata>" if lines else ""


def _summary(text: str) -> str:
    return f"<summary_of_older_messages>\n{_inside(text)}\n</summary_of_older_messages>" if text else ""


def _inside(text: str) -> str:
    """The text, which can close nothing of the prompt around it and open nothing."""
    return _OWN_TAG.sub("&lt;", text)
