"""The turn in which an agent calls tools: its run, who is told and who can be asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from atlas_mcp.constellation.approvals import Approvals, AskingRun
    from atlas_mcp.constellation.contract import OnEvent
    from atlas_mcp.guard.calling import CallRules
    from atlas_mcp.guard.entering import Entering


@dataclass
class ToolTurn:
    """One turn, as its tools need to know it.

    `key` is that of the turn in its run, the same in every attempt at it; `run` carries questions to the caller, and
    without one nobody can be asked. The toolbox adds the `approvals`, and the guard: what looks at what is `entering`,
    and at what `calls` take outside. `paid` is what calls cost in this process, in dollars.
    """

    id: str = ""
    run_id: str | None = None
    tell: OnEvent | None = None
    run: AskingRun | None = None
    key: str = ""
    approvals: Approvals | None = None
    paid: float = 0.0
    entering: Entering | None = None
    calls: CallRules | None = None
