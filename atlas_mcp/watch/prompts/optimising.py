"""Having MLflow's optimiser propose a better prompt, in a process of its own, within a budget and a deadline.

Promise: the process is given the key of the one model that it asks and no other secret, it keeps nothing, and it is
gone when the call ends, also when that is cancelled. What it may take is settled before it is asked: where the budget
does not hold one question and an answer of useful length, nothing is asked.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import anyio
from pydantic import Field

from atlas_mcp.errors import InvalidInput, Unavailable, UnpricedModel
from atlas_mcp.model._base import Frozen
from atlas_mcp.model.tokens import estimate_tokens
from atlas_mcp.watch.payload import clean
from atlas_mcp.watch.prompts.optimiser import TRIES, Order, Proposal
from atlas_mcp.watch.sidecar import child_environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from atlas_mcp.watch.prompts.evidence import Piece

TOKENS = 500_000
"""What an attempt may take where nobody says: the proposal, and the comparison after it."""

SECONDS = 420.0
_REQUEST_SECONDS = 90
_FRAME = 900
"""Tokens of MLflow's own words: 690 by `estimate_tokens`, and those that it says of the examples."""
_MOST_OUTPUT = 6_000
_LEAST_OUTPUT = 1_000


class Budget(Frozen):
    """What may be taken in all; None is no limit of that kind."""

    tokens: int | None = Field(default=None, gt=0)
    usd: float | None = Field(default=None, gt=0)


def order_within(
    budget: Budget,
    cost: Callable[[int, int], float | None],
    *,
    name: str,
    text: str,
    pieces: Sequence[Piece],
    guidelines: str,
    longest: int,
    model: tuple[str, dict[str, str]],
) -> Order:
    """What the optimiser is to do for that money.

    InvalidInput for a budget that does not hold one proposal, UnpricedModel for dollars where the price is not known.
    """
    told = "\n".join(line for piece in pieces for line in (piece.asked, piece.answered, *piece.reasons))
    taken = _FRAME + estimate_tokens(f"{text}\n{guidelines}\n{told}") * 5 // 4
    if budget.usd is not None and cost(taken, _LEAST_OUTPUT) is None:
        raise UnpricedModel([model[0].replace(":/", ":", 1)], "--budget-usd", instead="Give --budget-tokens instead")
    for tries in range(TRIES, 0, -1):
        for output in (_MOST_OUTPUT, _MOST_OUTPUT // 2, _LEAST_OUTPUT):
            if _holds(budget, cost, tries * taken, tries * output):
                uri, variables = model
                return Order(
                    name=name, text=text, pieces=tuple(pieces), guidelines=guidelines, longest=longest, model=uri,
                    variables=variables, input_tokens=taken, output_tokens=output, tries=tries,
                )  # fmt: skip
    least = f"{taken + _LEAST_OUTPUT:,} tokens"
    dollars = cost(taken, _LEAST_OUTPUT)
    raise InvalidInput(
        f"one proposal takes about {least}{f', ${dollars:.2f}' if dollars else ''}: the budget does not hold that.",
        argument="--budget-usd" if budget.usd is not None else "--budget-tokens",
        next_step="Give more, or leave it out.",
    )


async def propose(order: Order) -> Proposal:
    """What the optimiser comes to. Unavailable when it fails, or takes longer than SECONDS."""
    command = [sys.executable, "-P", "-m", "atlas_mcp.watch.prompts.optimiser"]
    environment = {**child_environment(), "MLFLOW_GENAI_EVAL_LLM_TIMEOUT": str(_REQUEST_SECONDS)}
    try:
        with anyio.fail_after(SECONDS):
            done = await anyio.run_process(
                command, input=order.model_dump_json().encode(), env=environment, check=False
            )
    except TimeoutError:
        raise Unavailable(f"the optimiser did not end within {SECONDS:.0f} s.", next_step="Try again later.") from None
    if done.returncode:
        said = clean(done.stderr.decode(errors="replace").strip()[-600:], 600)
        raise Unavailable(f"the optimiser failed: {said}", next_step="Mend that, then try again.")
    return Proposal.model_validate_json(done.stdout)


def _holds(budget: Budget, cost: Callable[[int, int], float | None], taken: int, given: int) -> bool:
    if budget.tokens is not None and taken + given > budget.tokens:
        return False
    return budget.usd is None or (cost(taken, given) or 0.0) <= budget.usd
