"""Tokens of a turn: as the model reports them, else estimated and marked so.

The estimate is four characters to a token. It is only a rule of thumb, good enough to keep a context within its budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_CHARS_PER_TOKEN = 4


def tokens(text: str) -> int:
    """About how many tokens a text has."""
    return tokens_in(len(text))


def tokens_in(chars: int) -> int:
    """About how many tokens so many characters have."""
    return (chars + _CHARS_PER_TOKEN - 1) // _CHARS_PER_TOKEN


@dataclass
class Usage:
    prompt: int = 0
    completion: int = 0
    cached: int = 0
    cache_written: int = 0
    reasoning: int = 0
    context: int = 0
    steps: int = 0
    estimated: bool = False

    def add(self, other: Usage) -> None:
        """Counts another model call in."""
        self.prompt += other.prompt
        self.completion += other.completion
        self.cached += other.cached
        self.cache_written += other.cache_written
        self.reasoning += other.reasoning
        self.steps += other.steps
        self.context = other.context or self.context
        self.estimated = self.estimated or other.estimated

    def stored(self) -> dict[str, Any]:
        return dict(vars(self))

    def wire(self, run_ids: list[str] | None = None) -> dict[str, Any]:
        """Letta's usage_statistics; `estimated` is an addition."""
        return {
            "message_type": "usage_statistics",
            "completion_tokens": self.completion,
            "prompt_tokens": self.prompt,
            "total_tokens": self.prompt + self.completion,
            "step_count": self.steps,
            "run_ids": run_ids,
            "cached_input_tokens": self.cached,
            "cache_write_tokens": self.cache_written,
            "reasoning_tokens": self.reasoning,
            "context_tokens": self.context,
            "estimated": self.estimated,
        }


def reported(metadata: dict[str, Any] | None, *, prompt: int, completion: int) -> Usage:
    """The usage of one model call: LangChain's usage_metadata, else the given estimates. Less than nothing, which would
    give back what was spent, counts as not reported."""
    if not metadata or min(int(metadata.get(name) or 0) for name in ("input_tokens", "output_tokens")) < 0:
        return Usage(prompt, completion, context=prompt + completion, steps=1, estimated=True)
    read: dict[str, Any] = metadata.get("input_token_details") or {}
    written: dict[str, Any] = metadata.get("output_token_details") or {}
    used, made = int(metadata.get("input_tokens") or 0), int(metadata.get("output_tokens") or 0)
    return Usage(
        used,
        made,
        int(read.get("cache_read") or 0),
        int(read.get("cache_creation") or 0),
        int(written.get("reasoning") or 0),
        used + made,
        1,
    )
