"""A process that reserves turns of one caller until the day's limit refuses one, and tells how many it got.

python -m tests.budgets.spender HOME DATABASE DAILY_USD USD_A_TURN      DATABASE is empty for one in the home
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import anyio

from atlas_mcp.errors import BudgetSpent
from atlas_mcp.model.caller import Caller
from atlas_mcp.model.usage import Usage
from atlas_mcp.store.postgres import Postgres
from atlas_mcp.store.record import open_record
from atlas_mcp.watch.ledger import Ledger


async def main(home: str, address: str, daily: str, turn: str) -> None:
    ledger, caller, count = Ledger(float(daily)), Caller(id="local:me"), 0
    estimate = Usage(turns=1, input_tokens=10, cost_usd=float(turn))
    async with open_record(Path(home), Postgres(address) if address else None) as record:
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        sys.stdin.readline()
        try:
            while True:
                async with record.write(caller.id) as db:
                    name = f"{os.getpid()}-{count}"
                    await ledger.reserve(db, caller, turn=name, run_id=None, model="x/m", estimate=estimate)
                count += 1
        except BudgetSpent:
            sys.stdout.write(f"{count}\n")


if __name__ == "__main__":
    _, given_home, given_address, given_daily, given_turn = sys.argv
    anyio.run(main, given_home, given_address, given_daily, given_turn)
