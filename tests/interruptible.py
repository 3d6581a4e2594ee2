"""Programs that tests interrupt, as a person does by Ctrl-C."""

from __future__ import annotations

import signal


def interruptible() -> None:
    """To be called in the new process: as a shell starts what is typed.

    Whoever runs the tests in the background ignores Ctrl-C, and so would all that they start.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
