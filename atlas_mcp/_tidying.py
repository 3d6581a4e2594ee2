"""What is put in order when the rooms open, while others work already: guests of runs, and files of runs that
are gone.

A run whose process died and that was cancelled afterwards may have left agents that existed for it alone. What cannot
be put in order now is at the next start.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from atlas_mcp._forgetting import finish_forgetting
from atlas_mcp._outputs import sweep_outputs
from atlas_mcp.errors import AtlasError
from atlas_mcp.model.caller import Caller

if TYPE_CHECKING:
    from atlas_mcp._rooms import Rooms

log = logging.getLogger(__name__)


async def tidy(rooms: Rooms) -> None:
    """Delete the agents of runs that have ended; go on with what was being forgotten."""
    from atlas_mcp.constellation.guests import left_behind

    try:
        await finish_forgetting(rooms)
        await sweep_outputs(rooms)
        left = await left_behind(rooms.record)
    except (AtlasError, OSError) as error:
        log.warning("nothing was put in order: %s", error)
        return
    for run_id, caller in left:
        try:
            agents = await rooms.constellation(Caller(id=caller))
            await agents.dismiss(run_id, ended=False)
        except AtlasError as error:
            log.warning("the agents of run %s are still there: %s", run_id, error)
