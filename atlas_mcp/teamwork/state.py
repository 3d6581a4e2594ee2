"""What a team task's graph passes on: small plain JSON. Texts are artifacts of the run, referred to by their names.

Reducers replace by key or leave out what is there already, so that a node which runs again after a crash changes
nothing twice. A key that no node has written yet is not there: it is read with `get`.
"""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

Json = dict[str, Any]


def merge(old: Json | None, new: Json | None) -> Json:
    """Both, the new one's values winning."""
    return {**(old or {}), **(new or {})}


def unite(old: list[Any] | None, new: list[Any] | None) -> list[Any]:
    """Both in order, each item once."""
    united = list(old or [])
    united.extend(item for item in new or [] if item not in united)
    return united


class PartState(TypedDict):
    """A part of the plan; its task is in the artifact `plan`.

    `inside` is there for an assignment that a team got from the one it belongs to: the part that it is made of. The
    task stands in that one's delegation, under the number that ends the id.
    """

    id: str
    team: str
    depends_on: list[str]
    inside: NotRequired[str]


DEBATE = "debate"
"""The id of the part that a debate is, and what stands in the place of its team."""


class State(TypedDict):
    """The whole task. `planning` is the planner's conversation and what it asked the caller; `lead` whose text it is
    where no writing team writes. `done` says of each part that ended whether it is "done" or "missing"; `rated` gives
    the round of each verdict; `unfit` says of a verdict by its round and rater why it does not count; `models` says who
    answered with which; `means` are the criteria's scores by round; `turns` counts each node's turns."""

    planning: Json
    mode: str
    lead: str
    parts: list[PartState]
    done: Annotated[dict[str, str], merge]
    authors: Annotated[list[str], unite]
    missing: Annotated[list[Json], unite]
    turns: Annotated[dict[str, int], merge]
    round: int
    raters: list[str]
    rated: Annotated[dict[str, int], merge]
    unfit: Annotated[dict[str, str], merge]
    models: Annotated[dict[str, str], merge]
    means: Annotated[dict[str, dict[str, float]], merge]
    again: bool


class TeamState(TypedDict):
    """One part in the hands of its team. `reports` says of each assignment who did it; nobody where it is empty.

    `nested` are the numbers of those assignments that a team of its own got; `asked` are the questions that its
    supervisor put to the caller.
    """

    part: PartState
    thread: str
    assigned: list[str]
    nested: list[int]
    asked: list[Json]
    reports: Annotated[dict[str, str], merge]
    done: Annotated[dict[str, str], merge]
    authors: Annotated[list[str], unite]
    missing: Annotated[list[Json], unite]
    turns: Annotated[dict[str, int], merge]


class TeamOutput(TypedDict, total=False):
    """What a team's work changes in the whole."""

    done: Annotated[dict[str, str], merge]
    authors: Annotated[list[str], unite]
    missing: Annotated[list[Json], unite]
    turns: Annotated[dict[str, int], merge]


class WorkerState(TypedDict):
    """One assignment; its text is in the artifact of the part's delegation."""

    part: PartState
    index: int
    worker: str


class RaterState(TypedDict):
    """One rater in one round, and the parts whose reports it may look at."""

    rater: str
    round: int
    parts: list[PartState]
    done: dict[str, str]


class DebateState(TypedDict):
    """A debate. `seated` are those who spoke in the last round, `said` says of each statement whether it is "done" or
    "missing", `threads` has each debater's conversation."""

    part: PartState
    round: int
    seated: list[str]
    over: bool
    said: Annotated[dict[str, str], merge]
    threads: Annotated[dict[str, str], merge]
    done: Annotated[dict[str, str], merge]
    authors: Annotated[list[str], unite]
    missing: Annotated[list[Json], unite]
    turns: Annotated[dict[str, int], merge]


class DebaterState(TypedDict):
    """One debater in one round."""

    debater: str
    round: int
    seated: list[str]
    threads: dict[str, str]
