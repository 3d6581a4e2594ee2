"""Being told to stop, in the same way on every transport."""

from __future__ import annotations

import signal

import anyio


async def stop_signal() -> None:
    """Wait for SIGTERM or SIGINT. Afterwards a second one acts as if nobody listened, so that it always ends us."""
    try:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                return
    except NotImplementedError:  # where the event loop has no signals, an interrupt is a KeyboardInterrupt
        await anyio.sleep_forever()
