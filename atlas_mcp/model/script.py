"""A script: what a model answers that is no model, by who is asked and for which part of the work."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, model_validator

from atlas_mcp.model._base import Frozen

Part = Literal[
    "plan",
    "delegation",
    "findings",
    "merging",
    "decision",
    "write",
    "edit",
    "revise",
    "verdict",
    "statement",
    "points",
    "learning",
    "chat",
]
"""What an agent is asked for in a team task; `chat` is all that asks for no typed answer."""
ModelError = Literal["rate limit", "outage", "timeout", "bad key", "empty"]
MAX_SECONDS = 600.0


class ToolCall(Frozen):
    """A tool that the model calls, as it would call it."""

    tool: str = Field(min_length=1)
    arguments: dict[str, Any] = Field(default_factory=dict[str, Any])


class Reply(Frozen):
    """What comes of one call of the model: exactly one of these, after so many `seconds`.

    `text` is said as it stands; `answer` is a typed answer, sent as JSON; `tools` are called, and what the model is
    asked with their results is its next call; `error` is how its provider fails; `hold` never ends.
    """

    text: str | None = None
    answer: dict[str, Any] | None = None
    tools: tuple[ToolCall, ...] | None = Field(default=None, min_length=1)
    error: ModelError | None = None
    hold: bool = False
    seconds: float = Field(default=0, ge=0, le=MAX_SECONDS)

    @model_validator(mode="after")
    def _one(self) -> Self:
        given = [name for name in ("text", "answer", "tools", "error") if getattr(self, name) is not None]
        given += ["hold"] if self.hold else []
        if len(given) != 1 and not (self.seconds and not given):
            raise ValueError(
                f"a reply is exactly one of text, answer, tools, error and hold; here are {given or 'none'}"
            )
        return self


class Rule(Frozen):
    """Whom it answers: the `agent`, for that `part`, when what it is asked, or what a tool gave it since, `says` so;
    whatever is left out fits all.

    Its replies are given one after another, to each agent from the first on; after the last, the rule fits no more,
    unless it is `always`: then the last is given again and again. A reply of seconds alone is slow, and leaves the
    answer to who comes next.
    """

    agent: str | None = None
    part: Part | None = None
    says: str | None = Field(default=None, min_length=1)
    replies: tuple[Reply, ...] = Field(min_length=1)
    always: bool = False


class Script(Frozen):
    """Rules, of which the first that fits answers; where none does, the offline model, or the model `otherwise`
    (provider:name)."""

    rules: tuple[Rule, ...] = ()
    otherwise: str | None = None
