"""Which keys open the door of one server process just now.

Promise: a key that is revoked, by whichever process on the record, opens nothing KEPT_SECONDS later; one that expires,
nothing from that moment on. Meanwhile a key is looked up once, not with every request, and that it is used is written
down once a minute. What looks like no key costs no look at the record.
"""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import anyio

from atlas_mcp.access.keys import USED_EVERY, Keys, hashed, opens, parsed
from atlas_mcp.errors import AtlasError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from atlas_mcp.model.access import AccessKey, Grant
    from atlas_mcp.store.record import Record

KEPT_SECONDS = 3.0
_WRITE_SECONDS = 1.0
_NOBODY = hashed("")
log = logging.getLogger("atlas.access")


class KeyRing:
    """The keys that were used lately. `record` gives the record once it is open; `clock` counts seconds."""

    def __init__(self, record: Callable[[], Awaitable[Record]], clock: Callable[[], float] = time.monotonic) -> None:
        self._record = record
        self._clock = clock
        self._kept: dict[str, tuple[float, AccessKey, str]] = {}
        self._noted: dict[str, datetime] = {}

    async def grant(self, token: str) -> Grant | None:
        """What it grants, or None. Raises what keeps the record from being read."""
        if (parts := parsed(token)) is None:
            return None
        key_id, secret = parts
        found = await self._found(key_id)
        if found is None:
            opens(secret, _NOBODY)  # as long as for a key that there is
            return None
        key, kept = found
        if not opens(secret, kept) or key.state() != "active":
            return None
        await self._note_use(key)
        return key.grant()

    async def _found(self, key_id: str) -> tuple[AccessKey, str] | None:
        at = self._clock()
        if (kept := self._kept.get(key_id)) is not None and at - kept[0] < KEPT_SECONDS:
            return kept[1], kept[2]
        keys = Keys(await self._record())
        if (found := await keys.find(key_id)) is None:
            self._kept.pop(key_id, None)
            return None
        self._kept[key_id] = (at, *found)
        return found

    async def _note_use(self, key: AccessKey) -> None:
        now = datetime.now(UTC)
        last = max(filter(None, (key.used_at, self._noted.get(key.id))), default=None)
        if last is not None and now - last < USED_EVERY:
            return
        self._noted[key.id] = now  # first: of many requests at once one writes it
        try:
            with anyio.move_on_after(_WRITE_SECONDS):  # nobody is kept from coming in because others write
                await Keys(await self._record()).used(key.model_copy(update={"used_at": now}))
        except AtlasError as error:
            log.warning("that the key %s was used could not be written down: %s", key.id, error)
