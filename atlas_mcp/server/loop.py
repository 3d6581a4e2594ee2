"""Which event loop ATLAS runs on: uvloop where it is installed, for a turn then takes less of the processor.

For the outermost call only: `anyio.run(main, backend_options=loop_options())`. It imports nothing but the standard
library; uvloop itself is imported by anyio when the loop is made.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any


def loop_options() -> dict[str, Any]:
    """What `anyio.run` takes as `backend_options`; empty where there is no uvloop (on Windows)."""
    return {"use_uvloop": True} if find_spec("uvloop") is not None else {}
