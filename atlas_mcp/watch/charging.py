"""Work that is no agent's turn, charged to its caller's day: evaluations, judges, the bettering of prompts.

Promise: what it will probably take is reserved before it begins, and put right when it has ended. What is cut off in
the middle keeps its reservation, for it may have cost as much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import anyio

if TYPE_CHECKING:
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.usage import Usage
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.ledger import Ledger, Reservation


@dataclass(frozen=True)
class Charging:
    """The ledger of a home, and the record that it is kept in."""

    record: Record
    ledger: Ledger

    async def reserve(self, caller: Caller, *, work: str, run_id: str, model: str, estimate: Usage) -> Reservation:
        """Reserve what the work will probably take; `run_id` is what costs by task show it under.

        BudgetSpent or UnpricedModel: then it must not begin.
        """
        turn = f"{work}-{uuid4()}"
        async with self.record.jot(caller.id) as db:
            return await self.ledger.reserve(db, caller, turn=turn, run_id=run_id, model=model, estimate=estimate)

    async def settle(self, reserved: Reservation, used: Usage) -> None:
        """Put what it did take in the place of what was reserved, also when its caller is being cancelled."""
        with anyio.CancelScope(shield=True):
            async with self.record.jot(reserved.caller) as db:
                await self.ledger.settle(db, reserved, used)
