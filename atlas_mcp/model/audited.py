"""What the audit log says of each thing that was asked for: who did what to what, when, how it ended, from where."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from atlas_mcp.model._base import Frozen

AuditOutcome = Literal["done", "refused", "failed", "cancelled"]


class Audited(Frozen):
    """An entry of the audit log. No text of a message, of a memory or of an answer stands in it, and no secret."""

    at: datetime = Field(description="When it was asked for.")
    caller: str = Field(description="Whose constellation it was about; empty where nobody was let in.")
    via: str = Field(description="How they came in: stdio, http, cli, the id of a key, or the issuer of a login.")
    client: str = Field(default="", description="The name that the program gave itself.")
    address: str = Field(default="", description="The machine it came from, over HTTP.")
    action: str = Field(description="The tool, the protocol's method, or the command.")
    target: str = Field(default="", description="What it was done to: an agent, a run, a memory.")
    outcome: AuditOutcome = "done"
    detail: str = Field(default="", description="The kind of error; for many at once, how many.")
    trace_id: str | None = None


class AuditQuery(Frozen):
    """Which entries are asked for; what is None narrows nothing. `since` counts, `until` does not any more."""

    caller: str | None = None
    action: str | None = None
    outcome: AuditOutcome | None = None
    since: datetime | None = None
    until: datetime | None = None
    limit: int = Field(default=100, ge=1, le=1_000_000)
