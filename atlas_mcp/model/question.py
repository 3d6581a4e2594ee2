"""A question of a run: what it cannot go on without knowing, and what is done if nobody answers."""

from __future__ import annotations

from datetime import datetime
from difflib import get_close_matches
from typing import Literal

from pydantic import Field

from atlas_mcp.errors import InvalidInput, OverLimit
from atlas_mcp.model._base import Frozen

QuestionKind = Literal["approval", "choice", "text"]
MAX_ANSWER = 10_000


class Asking(Frozen):
    """A question before it is put: `safe` is the answer that is taken at the deadline, and never one that costs or
    destroys. With neither options nor `words`, nothing would fit."""

    asked_by: str = Field(description="The agent that asks, or 'atlas'.")
    kind: QuestionKind
    text: str
    options: tuple[str, ...] = Field(default=(), description="The answers that fit.")
    words: str = Field(default="", description="What an answer in words of your own is; empty if only options fit.")
    safe: str = Field(description="What is taken if nobody answers in time.")


class Question(Asking):
    """Put once, and answered once: by the caller, or by `safe` at the deadline."""

    id: str
    deadline: datetime


def fitting(question: Asking, answer: str) -> str:
    """The answer as the question takes it: one of its options, as it is written there, words of one's own, or `safe`.

    Raises InvalidInput for one that does not fit, which says what would, and OverLimit.
    """
    given = answer.strip()
    if len(given) > MAX_ANSWER:
        raise OverLimit("answer", len(given), MAX_ANSWER)
    for option in question.options:
        if given.rstrip(".!").casefold() == option.casefold():
            return option
    if given == question.safe:
        return given
    # A word alone beside options is a mistyped option, or a "yes" of which nobody knows what it means.
    if question.words and given and (not question.options or len(given.split()) > 1):
        return given
    raise InvalidInput(
        f"{given!r} does not fit the question {question.text[:200]!r}." if given else "the answer is empty.",
        argument="answer",
        allowed=question.options,
        next_step=_what_fits(question, given),
    )


def what_fits(question: Asking) -> str:
    """What would fit, in words."""
    options = " or ".join(map(repr, question.options))
    return " or, in words of your own, ".join(filter(None, (options, question.words)))


def _what_fits(question: Asking, given: str) -> str:
    close = get_close_matches(given.casefold(), [o.casefold() for o in question.options], n=1, cutoff=0.5)
    nearest = next((o for o in question.options if close and o.casefold() == close[0]), None)
    return (f"Did you mean {nearest!r}? " if nearest else "") + f"What fits: {what_fits(question)}."
