"""A process that imports or moves a constellation and is killed at a point that the test names.

python -m tests.portable.process POINT import FILE [--replace]
python -m tests.portable.process POINT drain NAME
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from atlas_mcp.cli.app import run
from atlas_mcp.constellation import moves, portable_rows
from atlas_mcp.letta.door import Letta
from atlas_mcp.letta.moving import LettaMoves

BEFORE = {"marked", "half planted", "planted", "half changed"}
"""Points before the record has changed: the constellation is then what it was."""
AFTER = {"changed", "half tidied", "tidied"}


def die() -> None:
    """kill -9: nothing runs any more, not even a clean-up."""
    os.kill(os.getpid(), signal.SIGKILL)


def dying(owner: Any, name: str, *, before: bool = False, asynchronous: bool = True) -> None:
    """Die before the first call of that function, or right after it."""
    real = getattr(owner, name)

    async def patched(*args: Any, **more: Any) -> Any:
        if before:
            die()
        done = await real(*args, **more)
        die()
        return done

    def patched_plain(*args: Any, **more: Any) -> Any:
        if before:
            die()
        done = real(*args, **more)
        die()
        return done

    setattr(owner, name, patched if asynchronous else patched_plain)


POINTS: dict[str, Any] = {
    "marked": lambda: dying(moves, "write_mark", asynchronous=False),
    "half planted": lambda: dying(Letta, "create_agent"),
    "planted": lambda: dying(moves, "missing"),
    "half changed": lambda: dying(portable_rows, "place"),
    "changed": lambda: dying(moves.Moves, "_finish", before=True),
    "half tidied": lambda: dying(LettaMoves, "mark_agent"),
    "tidied": lambda: dying(moves, "drop_mark", before=True, asynchronous=False),
}

if __name__ == "__main__":
    POINTS[sys.argv[1]]()
    raise SystemExit(run(sys.argv[2:]))
