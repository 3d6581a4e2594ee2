"""What drifted or went wrong: alerts, as `get_status`, the report and the webhook tell them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

RuleName = Literal["task_seconds", "task_usd", "quality", "error_rate", "budget", "store"]


class Alert(Frozen):
    """One thing beyond its threshold: `value` and `threshold` are seconds, dollars, a mean rating or a share, as the
    rule says; of a store that is not well they are 1 and 0. It stands until `cleared_at`.
    """

    id: str
    rule: RuleName
    subject: str = Field(description="A run, a store, the hash of a caller, or empty for the whole house.")
    text: str
    value: float
    threshold: float
    run_id: str | None = Field(default=None, description="The run that caused it.")
    trace_id: str | None = Field(default=None, description="The trace to look at.")
    raised_at: datetime
    cleared_at: datetime | None = None
