"""Being told to stop, in the same way on every transport."""

from __future__ import annotations

import anyio
from uvicorn.server import HANDLED_SIGNALS  # which signals mean "stop" on this platform; the SDK has loaded it already


async def stop_signal() -> int:
    """Wait until the process is told to stop; by which signal. A second one acts as if nobody listened, and ends it."""
    try:
        with anyio.open_signal_receiver(*HANDLED_SIGNALS) as signals:
            async for number in signals:
                return number
    except NotImplementedError:  # where the event loop has no signals, an interrupt is a KeyboardInterrupt
        pass
    await anyio.sleep_forever()
    raise AssertionError("unreachable")
