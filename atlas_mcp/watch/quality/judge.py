"""A judge beside the work: it looks at a share of what ends, within so many calls a day, and says what they cost.

Promise: nothing waits for it. What is to be judged is chosen by the trace's id, gathered for half a minute, and given
to a process with MLflow, one at a time in a home, which is gone when this one is. A day's calls are counted in the home
(`judge.json`), over all its processes; when they are used up nothing more is judged on that day. What they cost is
charged to the caller whose answer is judged; an answer for which that caller's day has no room is not. What waits when
the server ends is not judged: it is a sample.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import anyio
from pydantic import ValidationError

from atlas_mcp.errors import BudgetSpent, UnpricedModel
from atlas_mcp.model._base import Tolerant
from atlas_mcp.model.status import Room
from atlas_mcp.model.tokens import estimate_tokens
from atlas_mcp.model.usage import Usage
from atlas_mcp.watch import notes
from atlas_mcp.watch.notes import FeedbackNote, MetricsNote
from atlas_mcp.watch.payload import clean
from atlas_mcp.watch.quality.judging import JUDGES, Order, Piece, Verdict
from atlas_mcp.watch.sidecar import child_environment, open_log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

    from atlas_mcp.model.caller import Caller
    from atlas_mcp.store.locks import Locks
    from atlas_mcp.watch.charging import Charging
    from atlas_mcp.watch.ledger import Reservation

    Cost = Callable[[int, int], float | None]

LOCK: Final = "judge"
GATHER_SECONDS: Final = 30.0

_FILE: Final = "judge.json"
_AT_ONCE: Final = 20
_MOST_WAITING: Final = 200
_MOST_READ: Final = 20_000
_MOST_SAID: Final = 2_000
_START_SECONDS, _CALL_SECONDS = 120.0, 60
_TIMEOUTS: Final = ("MLFLOW_GENAI_EVAL_LLM_TIMEOUT", "MLFLOW_GATEWAY_ROUTE_TIMEOUT_SECONDS")
_SEE: Final = "See logs/ingest.log in the home folder, and check the judge's model and its key."
_PARTS: Final = 1 << 32
_FRAME, _ANSWER = 250, 200
"""Tokens of MLflow's own words for one judge (159 and 202 by `estimate_tokens`, and the schema), and of a verdict."""

log = logging.getLogger(__name__)


class Means(NamedTuple):
    """Which model judges, as people and as MLflow name it, with the variables that MLflow needs, and what it costs."""

    name: str
    uri: str
    variables: dict[str, str]
    cost: Cost


class JudgeState(Tolerant):
    """What was judged on a day (UTC), and what that took; `usd` None where the model's price is not known."""

    day: str = ""
    calls: int = 0
    failed: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    usd: float | None = None
    error: str | None = None


class Chosen(NamedTuple):
    """An answer that is to be judged, of which run and for whom."""

    caller: Caller
    run_id: str
    piece: Piece


class Judge:
    """The judge of one process. `share` of what ends is judged, by at most `calls_a_day` calls in the home."""

    def __init__(
        self,
        home: Path,
        locks: Locks,
        means: Means,
        *,
        share: float,
        calls_a_day: int,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._home = home
        self._locks = locks
        self._means = means
        self._share = share
        self._calls_a_day = calls_a_day
        self._gather_seconds = gather_seconds
        self._waiting: deque[Chosen] = deque(maxlen=_MOST_WAITING)
        self._news = anyio.Event()
        self._unpaid = 0

    def consider(self, caller: Caller, run_id: str, trace_id: str, asked: str, answered: str) -> None:
        """Have it judged, if it is of the sample: the same traces in every process, and at every time."""
        if not answered.strip() or int(trace_id[-8:], 16) >= self._share * _PARTS:
            return
        piece = Piece(key=trace_id, asked=clean(asked, _MOST_READ), answered=clean(answered, _MOST_READ))
        self._waiting.append(Chosen(caller, run_id, piece))
        self._news.set()

    def room(self) -> Room:
        """How the judge stands, and what it cost today."""
        state = today(self._home)
        known = state.usd is not None or not state.input_tokens
        cost = f"${state.usd or 0:.2f}" if known else "at a price that is not known"
        text = f"{self._means.name} has made {state.calls} of {self._calls_a_day} calls today, {cost}."
        if self._unpaid:
            text += f" {self._unpaid} answers were not judged since the start: their callers' days had no room for it."
        if state.error is None:
            return Room(name="judge", health="ok", text=text)
        return Room(name="judge", health="warning", text=f"{text} {state.error}", next_step=_SEE)

    async def work(self, charging: Charging) -> None:
        """Judge what was chosen, until cancelled."""
        while True:
            await self._news.wait()
            await anyio.sleep(self._gather_seconds)
            self._news = anyio.Event()
            while self._waiting:
                some = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
                try:
                    async with self._locks.hold(LOCK):
                        await self._judge(some, charging)
                except Exception as error:  # the next ones may fare better, and the work itself has not suffered
                    log.exception("nothing was judged")
                    save(self._home, today(self._home).model_copy(update={"error": clean(str(error), 500)}))

    async def _judge(self, some: Sequence[Chosen], charging: Charging) -> None:
        state = today(self._home)
        room = max(0, (self._calls_a_day - state.calls) // len(JUDGES))
        if room < len(some):
            log.warning(
                "%d answers are not judged: the day's %d calls are used up", len(some) - room, self._calls_a_day
            )
        chosen = {one.piece.key: one for one in some[:room]}
        paid = {key: held for key, one in chosen.items() if (held := await self._reserve(one, charging))}
        if not paid:
            return
        # Counted before they are made: what is cut off in the middle may have cost as much.
        save(self._home, state.model_copy(update={"calls": state.calls + len(paid) * len(JUDGES), "error": None}))
        pieces = tuple(chosen[key].piece for key in paid)
        order = Order(model=self._means.uri, variables=self._means.variables, pieces=pieces)
        used = dict.fromkeys(paid, Usage())

        async def hear(verdict: Verdict) -> None:
            key = verdict.key
            self._tell(verdict, chosen[key].run_id)
            used[key] += self._usage(1, verdict.input_tokens, verdict.output_tokens)
            if used[key].turns == len(JUDGES):
                await charging.settle(paid[key], used[key])

        with anyio.fail_after(_START_SECONDS + _CALL_SECONDS * len(pieces) * len(JUDGES)):
            await self._ask(order, hear)

    async def _reserve(self, one: Chosen, charging: Charging) -> Reservation | None:
        given = sum(map(estimate_tokens, (one.piece.asked, one.piece.answered))) + _FRAME
        most = self._usage(len(JUDGES), len(JUDGES) * given, len(JUDGES) * _ANSWER)
        model = self._means.name.replace(":", "/", 1)
        try:
            return await charging.reserve(one.caller, work="judge", run_id=one.run_id, model=model, estimate=most)
        except (BudgetSpent, UnpricedModel) as refused:
            self._unpaid += 1
            log.warning("the answer of run %s is not judged: %s", one.run_id, refused)
            return None

    def _usage(self, calls: int, given: int, taken: int) -> Usage:
        cost = self._means.cost(given, taken)
        return Usage(turns=calls, input_tokens=given, output_tokens=taken, cost_usd=cost)

    async def _ask(self, order: Order, hear: Callable[[Verdict], Awaitable[None]]) -> None:
        """Have `hear` hear each verdict as it comes. OSError where not all of them do."""
        environment = {**child_environment(), **dict.fromkeys(_TIMEOUTS, str(_CALL_SECONDS))}
        command = [sys.executable, "-P", "-m", "atlas_mcp.watch.quality.judging"]
        told = 0
        with open_log(self._home).open("ab") as errors:
            async with await anyio.open_process(command, stderr=errors, env=environment, cwd=self._home) as child:
                if child.stdin is None or child.stdout is None:
                    raise OSError("the judges' process has no pipes")
                await child.stdin.send(order.model_dump_json().encode())
                await child.stdin.aclose()
                rest = b""
                async for some in child.stdout:
                    *lines, rest = (rest + some).split(b"\n")
                    for line in lines:
                        await hear(Verdict.model_validate_json(line))
                        told += 1
                code = await child.wait()
        if code or told < len(order.pieces) * len(JUDGES):
            raise OSError(f"the judges' process ended with {code} after {told} verdicts: see logs/ingest.log")

    def _tell(self, verdict: Verdict, run_id: str) -> None:
        self._count(verdict)
        if verdict.error is not None or verdict.value is None:
            log.warning("%s could not be judged for %s: %s", verdict.key, verdict.judge, verdict.error)
            return
        note = FeedbackNote(
            key=f"judge/{run_id}/{verdict.judge}",
            trace_id=verdict.key,
            name=verdict.judge,
            value=verdict.value,
            rationale=verdict.why[:_MOST_SAID],
            source="judge",
            source_id=self._means.name,
            at_ms=int(time.time() * 1_000),
        )
        notes.tell(note)

    def _count(self, verdict: Verdict) -> None:
        state, given, taken = today(self._home), verdict.input_tokens, verdict.output_tokens
        cost = self._means.cost(given, taken)
        changed = {
            "failed": state.failed + (verdict.error is not None),
            "input_tokens": state.input_tokens + given,
            "output_tokens": state.output_tokens + taken,
            "usd": None if cost is None else (state.usd or 0.0) + cost,
            "error": verdict.error or state.error,
        }
        state = state.model_copy(update=changed)
        save(self._home, state)
        values = {"calls": float(state.calls), "tokens": float(state.input_tokens + state.output_tokens)}
        now = int(time.time() * 1_000)
        values |= {} if state.usd is None else {"usd": state.usd}
        notes.tell(MetricsNote(key=f"judge/{now}", series="judge", values=values, at_ms=now))


def today(home: Path) -> JudgeState:
    """What was judged in the home today; nothing yet where nothing can be read."""
    day = datetime.now(UTC).date().isoformat()
    try:
        state = JudgeState.model_validate_json((home / _FILE).read_bytes())
    except (OSError, ValidationError):
        state = JudgeState()
    return state if state.day == day else JudgeState(day=day)


def save(home: Path, state: JudgeState) -> None:
    """Keep it; a reader sees the old one or the new one."""
    draft = home / f"{_FILE}.{os.getpid()}"
    draft.touch(mode=0o600)
    draft.write_text(state.model_dump_json())
    draft.replace(home / _FILE)
