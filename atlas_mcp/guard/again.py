"""A reply in a chat or a group, held to the guard: nobody loses a reply without being told.

What rules find is cut out of it, at once. What a validator model or the user's rails refuse is asked for anew once, in
the same conversation and with the reason; where that does not pass either, words of ours stand in its place that say
which rule it was and what to do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from atlas_mcp.errors import AtlasError, LockLost, RunLost, StoreUnavailable, Waiting
from atlas_mcp.guard.leaving import UNAVAILABLE, failing
from atlas_mcp.model.guard import Finding, Held
from atlas_mcp.model.secrets import hidden

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from atlas_mcp.guard.layers import About
    from atlas_mcp.guard.leaving import Leaving
    from atlas_mcp.model.guard import Verdict
    from atlas_mcp.model.turn import TurnResult

    Anew = Callable[[str, Held], Awaitable[TurnResult]]

CUT: Final = "it was cut out of the reply"
ANEW: Final = "the agent is asked for another answer"
HELD_BACK: Final = "the reply is held back"
TAKEN_OUT: Final = "it was taken out"
AS_DATA: Final = "it was given as data, and marked as what it is"
GOES_ON: Final = "the reply goes on unjudged by that layer"
_MOST_TOLD = 3


@dataclass(frozen=True)
class Reply:
    """What may leave, the turns that it took, and what did not pass."""

    text: str
    turns: tuple[TurnResult, ...]
    held: tuple[Held, ...] = ()

    @property
    def turn(self) -> TurnResult:
        """The last of the turns, as it may be shown: with the text that may leave, and what all of them changed."""
        last, every = self.turns[-1], self.turns
        if last.reply == self.text and len(every) == 1 and not self.held:
            return last
        used = every[0].usage
        for one in every[1:]:
            used += one.usage
        changes = [change for one in every for change in one.memory_changes]
        return last.model_copy(
            update={"reply": self.text, "usage": used, "memory_changes": changes, "guard": [*self.held]}
        )


def cut(turn: TurnResult, verdict: Verdict) -> Reply:
    """The reply of a turn of which all layers said what is to be cut, and no more."""
    return Reply(verdict.text, (turn,), tuple(_held(turn, finding) for finding in verdict.findings))


async def held_to(guard: Leaving, turn: TurnResult, about: About, anew: Anew) -> Reply:
    """What may leave of the agent's answer; `anew` asks the agent for another one, and is told what was found."""
    verdict = await guard.check(turn.reply, about)
    refused = _refused(verdict)
    if not refused:
        return cut(turn, verdict)
    first = Held(agent=turn.agent, what=about.name, finding=refused[0], then=ANEW)
    try:
        second = await anew(_asking(refused), first)
    except (RunLost, Waiting, StoreUnavailable, LockLost):
        raise
    except AtlasError as error:
        why = f"{_told(refused)}; it could not be asked again: {hidden(str(error))}"
        return Reply(_instead(turn, why), (turn,), (first, first.model_copy(update={"then": HELD_BACK})))
    verdict = await guard.check(second.reply, about)
    if refused := _refused(verdict):
        last = Held(agent=turn.agent, what=about.name, finding=refused[0], then=HELD_BACK)
        return Reply(_instead(turn, f"{_told(refused)}, also when it was asked again"), (turn, second), (first, last))
    done = cut(second, verdict)
    return Reply(done.text, (turn, second), (first, *done.held))


def in_words(held: Held) -> str:
    """What the journal says of it."""
    reminded = f"{held.what}, of which {held.agent} was reminded,"
    what = reminded if held.what.startswith("memory ") else f"{held.agent}'s answer"
    return f"{what} does not pass the guard: {held.finding.told().rstrip('.')}; {held.then}"


def as_data(held: Held) -> dict[str, str]:
    """The same for programs."""
    return {"layer": held.finding.layer, "rule": held.finding.rule, "part": held.what, "then": held.then}


def _held(turn: TurnResult, finding: Finding) -> Held:
    then = GOES_ON if finding.rule == UNAVAILABLE else CUT
    return Held(agent=turn.agent, what="reply", finding=finding, then=then)


def _refused(verdict: Verdict) -> list[Finding]:
    return [finding for finding in failing(verdict) if finding.action == "refuse"]


def _asking(refused: Sequence[Finding]) -> str:
    return (
        f"Your last answer was not handed on, because it does not pass the guard: {_told(refused)}. Give another "
        "answer that does, and do not speak of this message."
    )


def _instead(turn: TurnResult, why: str) -> str:
    return (
        f"[{turn.agent}'s answer was held back by the guard: {why}. Ask in other words; which layers are on, and how "
        "to switch them, is told by get_status and in the documentation of the guard.]"
    )


def _told(refused: Sequence[Finding]) -> str:
    return "; ".join(finding.told().rstrip(".") for finding in refused[:_MOST_TOLD])
