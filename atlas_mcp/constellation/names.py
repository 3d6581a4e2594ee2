"""The names under which one caller's things are locked, and tagged in Letta.

Every name carries the caller, so two callers' things never meet, also on a Letta server that they share.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import TYPE_CHECKING
from uuid import NAMESPACE_OID, uuid5

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller

BUSY_SLOTS = 3
"""Turns of one agent that are told apart when its busy mark is set; more run, but leave no mark of their own."""

CALLER_TAG = "atlas-caller:"
"""Begins the tag that says whose an agent or block in Letta is."""


def caller_hash(caller: Caller) -> str:
    """The caller as others may see it: in tags and traces, where the id itself has no business."""
    return _hash(caller.id)


@lru_cache(maxsize=4_096)
def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def agent_lock(caller: Caller, agent: str) -> str:
    """Held while the agent is created or brought up to date."""
    return f"agent-{caller.id}-{agent}"


def shared_lock(caller: Caller) -> str:
    """Held while the constellation's shared blocks are created or brought up to date."""
    return f"shared-{caller.id}"


TOOLS_LOCK = "letta-tools"
"""Held while tools are put into Letta and given to agents. Tools are not a caller's: everybody's agents share them."""


def thread_lock(caller: Caller, agent: str, client: str) -> str:
    """Held while a client's own thread with the agent is looked up or opened."""
    return f"thread-{caller.id}-{agent}-{client}"


def turn_id(caller: Caller, key: str) -> str:
    """The turn with that idempotency key, as the record, the journal, traces and Letta (as `otid`) call it."""
    return _turn_id(f"{caller.id}\n{key}")


@lru_cache(maxsize=1024)  # a turn is named in several places while it goes on
def _turn_id(name: str) -> str:
    return f"turn-{uuid5(NAMESPACE_OID, name)}"


def turn_lock(agent: str, conversation: str) -> str:
    """Held for a whole turn: one at a time in each conversation."""
    return f"turn-{agent}-{conversation}"


def group_lock(conversation: str) -> str:
    """Held while a group talks in this conversation: one message of the caller's at a time."""
    return f"group-{conversation}"


def block_lock(block_id: str) -> str:
    """Held from reading a block to writing its next revision."""
    return f"block-{block_id}"


def busy_marks(caller: Caller, agent: str) -> list[str]:
    """The locks of which a turn of the agent holds one, for as long as it runs."""
    return [f"busy-{caller_hash(caller)}-{agent}-{slot}" for slot in range(BUSY_SLOTS)]


GUEST_TAG = "atlas-guest"
"""Marks an agent in Letta that exists for one run only."""
_RUN_TAG = "atlas-run:"
_GUEST = re.compile(r"_of_[0-9a-f]{8}$")


def guest_name(run_id: str, name: str) -> str:
    """The name of an agent that exists for that run only; no other run's has it."""
    return f"{name}_of_{_hash(run_id)[:8]}"


def is_guest(name: str) -> bool:
    """Whether the agent's name is one of those."""
    return bool(_GUEST.search(name))


def guest_tags(run_id: str) -> list[str]:
    """What marks an agent in Letta as existing for that run only."""
    return [GUEST_TAG, f"{_RUN_TAG}{run_id}"]


def tags(caller: Caller, agent: str | None = None) -> list[str]:
    """What marks an agent or block in Letta as this caller's."""
    own = ["atlas", f"{CALLER_TAG}{caller_hash(caller)}"]
    return [*own, f"atlas-agent:{agent}"] if agent else own
