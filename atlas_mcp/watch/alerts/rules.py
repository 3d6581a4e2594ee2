"""What raises an alert: thresholds as data, and what a look at the record finds beyond them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.model.alert import RuleName

FEWEST_TURNS = 10
"""With fewer turns in the hour a single one that failed would be more than a tenth."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Beyond what an alert is raised; None switches a rule off.

    Of a team task: `task_seconds` at work, waiting for answers apart, `task_usd`, and a mean rating below `quality`.
    `error_rate` is the share of the last hour's turns that failed, `budget` the share of a task's or a day's budget
    that is spent or reserved, `stores` whether a store that is not well is told.
    """

    task_seconds: float | None = 300.0
    task_usd: float | None = 5.0
    quality: float | None = 3.5
    error_rate: float | None = 0.1
    budget: float | None = 0.8
    stores: bool = True


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is beyond its threshold now. `rule` and `subject` say what it is; it is raised once for both.

    `caller` is whose it is, None for the house's; `text` holds no word of a caller's.
    """

    rule: RuleName
    subject: str
    text: str
    value: float
    threshold: float
    caller: str | None = None
    run_id: str | None = None
    trace_id: str | None = None
