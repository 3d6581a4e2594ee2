"""What a group's graph passes on: small plain JSON. What was said is in the record."""

from __future__ import annotations

from typing import Annotated, Any, TypedDict


def latest(old: int | None, new: int | None) -> int:
    """The higher number: of agents that speak at the same time, each brings its own."""
    return max(old or 0, new or 0)


class State(TypedDict):
    """Where the talk stands. `turns`: turns given so far; `last`: number of the newest message that the next speaker is
    told; `speaker`: who spoke last or was chosen; `silent`: turns in a row in which nobody spoke; `stop`: why it ends.
    """

    turns: int
    last: Annotated[int, latest]
    speaker: str
    silent: int
    stop: dict[str, Any] | None


class Asked(TypedDict):
    """One agent that is asked at the same time as others, and up to which message it is told."""

    agent: str
    last: int
