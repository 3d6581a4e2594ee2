"""`atlas-mcp`, which when it is told to stop gives turns under way a minute: for what tests do in that time."""

from __future__ import annotations

from atlas_mcp.__main__ import main
from atlas_mcp.server import http, signals

signals.DRAIN_SECONDS = signals.END_SECONDS = http.GRACE_SECONDS = 60

if __name__ == "__main__":
    main()
