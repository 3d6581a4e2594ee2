"""What a turn cost beside its model: the calls of services that its tools made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from atlas_mcp.model.usage import Usage

if TYPE_CHECKING:
    from atlas_mcp.constellation.turn_job import Job
    from atlas_mcp.model.caller import Caller
    from atlas_mcp.model.turn import TurnResult
    from atlas_mcp.store.record import Record
    from atlas_mcp.watch.ledger import Ledger


async def with_tools(result: TurnResult, job: Job, caller: Caller, record: Record, ledger: Ledger) -> TurnResult:
    """The turn's result, with what its tools paid in its usage, also in an earlier process.

    The record is asked only where there may be something.
    """
    if job.row.fresh and not job.tools.turn.paid:
        return result
    async with record.look() as db:
        usd = await ledger.paid(db, caller, job.row.id)
    return result.model_copy(update={"usage": result.usage + Usage(cost_usd=usd)}) if usd else result
