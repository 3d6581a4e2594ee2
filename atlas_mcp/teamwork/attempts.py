"""One turn of an agent, tried again while what it failed with may pass: at most ATTEMPTS times.

The journal tells that the turn began and each time that it is tried again. Where the outcome of an attempt is not known
the next one has the same key, so that the turn is looked for before it is taken again. A model's provider that says
when it can be asked again is left alone until then; one that wants more than MOST_SECONDS is not asked again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from math import ceil
from typing import TYPE_CHECKING, TypeVar

import anyio

from atlas_mcp.constellation.names import turn_id
from atlas_mcp.errors import AtlasError, LettaUnavailable, LockTimeout, ModelFailed
from atlas_mcp.model.usage import Usage
from atlas_mcp.runs.changes import Entry, Spent
from atlas_mcp.teamwork.checks import shorten
from atlas_mcp.watch.spans import span

if TYPE_CHECKING:
    from atlas_mcp.teamwork.contract import Journal

T = TypeVar("T")

ATTEMPTS = 3
BACKOFF_SECONDS = 0.25
MOST_SECONDS = 300.0


async def attempts(
    run: Journal,
    agent: str,
    key: str,
    doing: str,
    attempt: Callable[[str], Awaitable[T]],
    *,
    recalled: Sequence[str] = (),
) -> T:
    """What `attempt` gives when called with a turn's key, which is made of `key` and how many turns failed before.

    `recalled` are the ids of what the agent is given of what is remembered.
    """
    failures = 0
    first = turn_id(run.caller, _numbered(key, failures))
    data = {"recalled": [*recalled]} if recalled else {}
    run.tell(Entry(agent, "turn_started", doing, first, data, f"{key}:started"))

    async def counted(numbered: str) -> T:
        try:
            return await attempt(numbered)
        except ModelFailed as error:  # what a turn that failed took is part of what the run did
            if error.tokens != (0, 0):
                taken, given = error.tokens
                used = Usage(turns=1, input_tokens=taken, output_tokens=given, cost_usd=error.usd)
                run.tell(Spent(used, turn_id(run.caller, numbered)))
            raise

    why = ""
    for number in range(1, ATTEMPTS):
        try:
            with _again(agent, number, why):
                return await counted(_numbered(key, failures))
        except AtlasError as error:
            pause = max(BACKOFF_SECONDS * 2 ** (number - 1), _asked(error))
            if not transient(error) or pause > MOST_SECONDS:
                raise
            failures += isinstance(error, ModelFailed)
            why = str(error)
            later = f" in {ceil(pause)} s" if pause >= 1 else ""
            text = f"{agent} is tried again{later} ({number + 1} of {ATTEMPTS}): {shorten(str(error), 300)}"
            going_on = turn_id(run.caller, _numbered(key, failures))
            run.tell(Entry(agent, "turn_retried", text, going_on, {}, f"{key}:retried:{number}", f"{key}:started"))
        await anyio.sleep(pause)
    with _again(agent, ATTEMPTS, why):
        return await counted(_numbered(key, failures))


def _again(agent: str, number: int, why: str) -> AbstractContextManager[object]:
    """A span around every attempt but the first."""
    if number == 1:
        return nullcontext()
    return span(f"retry {agent}", "CHAIN", {"attempt": number, "why": why}, atlas__agent=agent)


def _asked(error: AtlasError) -> float:
    """The seconds that the model's provider wants to be left alone."""
    return (isinstance(error, ModelFailed) and error.retry_after) or 0.0


def transient(error: AtlasError) -> bool:
    """Whether trying again may help."""
    return isinstance(error, LettaUnavailable | LockTimeout) or (isinstance(error, ModelFailed) and error.transient)


def _numbered(key: str, failures: int) -> str:
    return f"{key}:{failures + 1}"
