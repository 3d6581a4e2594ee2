"""`atlas-mcp` on a record in which it takes a second to note what a call did, as on a machine with much to do; and on
such a machine it has the time for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio

from atlas_mcp.__main__ import main
from atlas_mcp.access.audit import AuditLog
from atlas_mcp.server import signals

if TYPE_CHECKING:
    from atlas_mcp.model.audited import Audited

_keep = AuditLog.keep


async def _keep_late(self: AuditLog, entry: Audited) -> None:
    await anyio.sleep(1)
    await _keep(self, entry)


AuditLog.keep = _keep_late
signals.ANSWER_SECONDS = signals.END_SECONDS = 60

if __name__ == "__main__":
    main()
