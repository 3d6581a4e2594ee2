"""Arguments that several tools take, described once."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

MAX_WAIT = 45

AgentName = Annotated[str, Field(description="As list_agents gives it.")]
RunId = Annotated[str, Field(description="As list_runs gives it.")]
WaitSeconds = Annotated[float, Field(ge=0, le=MAX_WAIT, description="Seconds before you get a run_id instead.")]
