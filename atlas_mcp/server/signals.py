"""Being told to stop, in the same way on every transport and by every command that serves.

Promise: after the first SIGTERM or SIGINT no turn and no run begins any more; turns under way have DRAIN_SECONDS to
end; who waits for a run gets its handle; and within END_SECONDS the process is gone, with exit code 0, whatever hangs.
Nothing is lost by that: all that a run has done is stored when it is done. A second signal ends the process at once.
"""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING

import anyio
from uvicorn.server import HANDLED_SIGNALS  # which signals mean "stop" on this platform; the SDK has loaded it already

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.atlas import Atlas

DRAIN_SECONDS = 3.0
END_SECONDS = 9.0
ANSWER_SECONDS = 5.0
"""For the answers that the end of the waiting gives: each is in the audit log before it is sent."""
_SENT_SECONDS = 0.2  # answers that were given are on their way to the clients
_log = logging.getLogger(__name__)


async def stopped(atlas: Atlas | None = None, answered: Callable[[], Awaitable[None]] | None = None) -> int:
    """Return, with the signal's number, when the process has been told to stop and may end: `atlas` has been drained,
    and `answered`, which returns when nobody waits for an answer any more, has been waited for.

    The caller then stops serving, closes `atlas`, and returns.
    """
    number = await _signalled()
    _end_within(END_SECONDS)
    if atlas is not None:
        await atlas.drain(DRAIN_SECONDS)
        if answered is not None:
            with anyio.move_on_after(ANSWER_SECONDS):
                await answered()
        await anyio.sleep(_SENT_SECONDS)
    return number


async def _signalled() -> int:
    try:
        with anyio.open_signal_receiver(*HANDLED_SIGNALS) as signals:
            async for number in signals:
                return number
    except NotImplementedError:  # where the event loop has no signals, an interrupt is a KeyboardInterrupt
        pass
    await anyio.sleep_forever()
    raise AssertionError("unreachable")


def _end_within(seconds: float) -> None:
    """End the process after that time, should it still be there: from a thread, so that nothing can hold it up."""

    def end() -> None:
        _log.warning("not everything stopped within %g s; what is unfinished goes on at the next start", seconds)
        os._exit(0)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
