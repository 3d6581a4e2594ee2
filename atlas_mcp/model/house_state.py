"""The state of a house over a day or a week, as `atlas-mcp report` tells it: figures of all callers together."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from atlas_mcp.model._base import Frozen
from atlas_mcp.model.alert import Alert
from atlas_mcp.model.run import RunKind, RunStatus


class RunCount(Frozen):
    """How many runs of that kind were asked for, and are in that state now."""

    kind: RunKind
    status: RunStatus
    runs: int


class TaskLine(Frozen):
    """One team task. `goal` is None where it is another caller's; `seconds` are from being asked for to the end."""

    run_id: str
    goal: str | None
    status: RunStatus
    asked_at: datetime
    seconds: float
    turns: int
    tokens: int
    usd: float
    rating: float | None = Field(default=None, description="The mean of the best round's ratings, 1 to 5.")
    passed: bool | None = None


class AgentLine(Frozen):
    """One agent's turns: of those that are done, the median and the 95th percentile in seconds. `unpriced_tokens` are
    those of models whose price is not known."""

    agent: str
    turns: int
    failed: int
    median: float | None
    p95: float | None
    tokens: int
    usd: float
    unpriced_tokens: int


class ModelLine(Frozen):
    """What a model cost: `unpriced_tokens` are those whose price is not known."""

    model: str
    turns: int
    tokens: int
    usd: float
    unpriced_tokens: int


class Point(Frozen):
    """A figure's mean over a stretch of time that begins at that moment."""

    at: datetime
    value: float


class Series(Frozen):
    """A figure over time; of what processes have each for themselves, all of them together."""

    name: str
    points: list[Point]


class Amount(Frozen):
    """How much there is of something, and how much of it is new in the time of the report; None where nobody knows."""

    what: str
    total: int
    new: int | None = None


class HouseState(Frozen):
    """The whole: from `since` to `until`. `more_tasks` is how many tasks are not among those shown."""

    since: datetime
    until: datetime
    runs: list[RunCount]
    tasks: list[TaskLine]
    more_tasks: int
    agents: list[AgentLine]
    models: list[ModelLine]
    alerts: list[Alert]
    health: list[Series]
    memory: list[Amount]
    record_bytes: int
