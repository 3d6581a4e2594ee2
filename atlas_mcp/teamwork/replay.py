"""What the nodes of a graph came to, kept with the run until it ends.

Promise: a run that is taken up again is led through its graph anew, and a node that was done gives what it gave then,
at once. A node has a place in the work, which is the same in every attempt, and so have its turns their keys: a node
whose outcome was not stored any more runs again, and its finished turns are found. What a node came to is stored with
what the run writes next, after all that the node wrote itself, in the transactions of the journal: whoever lost the run
cannot store it, and nothing waits for it.

LangGraph's own checkpoints keep the same in a second store, in the way of every step. See docs/runs.md.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from atlas_mcp.runs.changes import Kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.teamwork.contract import Journal


async def once(run: Journal, place: str, do: Callable[[], Awaitable[dict[str, Any]]]) -> tuple[dict[str, Any], bool]:
    """What the node at that place comes to, as plain JSON, and whether it had come to it in an earlier attempt."""
    name = f"node/{place}"
    if run.resumed and (known := await run.load(name)) is not None:
        return json.loads(known), True
    update = await do()
    run.tell(Kept(name, json.dumps(update), passing=True))
    return update, False
