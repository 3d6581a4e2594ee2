"""What agents asked the caller in their turns, and the answers, for their next prompt.

A turn cannot wait for a person. So the question is passed on and the turn ends; the work goes on; and before the agent
is asked again the run waits for the answers, once nobody else of it is at work. Without an answer in time the agent is
told to go on with what it has, without spending or destroying anything for it.
"""

from __future__ import annotations

from hashlib import blake2s
from typing import TYPE_CHECKING, Any

from atlas_mcp.errors import OverLimit, ToolFailed
from atlas_mcp.model.question import Asking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from atlas_mcp.constellation.contract import ToolSession
    from atlas_mcp.constellation.tool_turn import ToolTurn
    from atlas_mcp.model.turn import ToolSpec
    from atlas_mcp.reach.held import HeldCall
    from atlas_mcp.teamwork.contract import Journal
    from atlas_mcp.teamwork.job import Job

TOOL = "ask_caller"
MOST_ASKED = 3
MAX_QUESTION = 2_000
MAX_OPTIONS = 12
NOBODY_ANSWERED = "Nobody answered: go on with what you have, and spend or destroy nothing for want of an answer."


async def pass_on(run: Journal, agent: str, question: str, options: Sequence[str]) -> dict[str, Any]:
    """Put an agent's question to the caller: what `heard` needs to wait for its answer. The same question is put once.

    ToolFailed when the run has put MOST_ASKED already, or there is one option only; OverLimit.
    """
    if len(question) > MAX_QUESTION:
        raise OverLimit("question", len(question), MAX_QUESTION)
    choices = tuple(dict.fromkeys(option.strip() for option in options if option.strip()))
    if len(choices) == 1 or len(choices) > MAX_OPTIONS or any(len(c) > MAX_QUESTION for c in choices):
        raise ToolFailed(f"options: give 2 to {MAX_OPTIONS} short ones, or none.", argument="options")
    asking = Asking(
        asked_by=agent,
        kind="choice" if choices else "text",
        text=question,
        options=choices,
        words="" if choices else "the answer",
        safe=NOBODY_ANSWERED,
    )
    key = f"asked:{agent}:{blake2s(question.encode(), digest_size=8).hexdigest()}"
    if not await run.put(asking, key=key, most=MOST_ASKED):
        raise ToolFailed(
            f"{MOST_ASKED} questions were asked in this task, and more are not allowed: decide yourself, and say how."
        )
    return {"key": key, "asking": asking.model_dump(mode="json")}


async def heard(job: Job, asked: Iterable[Mapping[str, Any]]) -> list[str]:
    """Each question with its answer, in words. Waits for those that are still open; see `RunContext.ask`."""
    questions = [(one["key"], Asking.model_validate(one["asking"])) for one in asked]
    if questions:
        await job.quiet()
    return [f"You asked: {asking.text} The answer: {await job.run.ask(asking, key=key)}" for key, asking in questions]


class OnlyAsking:
    """Of an agent's tools only the one that asks."""

    def __init__(self, session: ToolSession) -> None:
        self._session = session

    @property
    def specs(self) -> Sequence[ToolSpec]:
        """What the agent's model is told."""
        return [spec for spec in self._session.specs if spec.name == TOOL]

    @property
    def turn(self) -> ToolTurn:
        """The turn they are called in."""
        return self._session.turn

    def about(self, name: str) -> dict[str, Any]:
        """See ToolSession."""
        return self._session.about(name)

    async def make(self, held: HeldCall) -> str:
        """See ToolSession; the tool that asks is never held."""
        return await self._session.make(held)

    async def call(self, name: str, arguments: dict[str, Any]) -> str:
        """The tool's answer; ToolFailed for any other tool."""
        if name != TOOL:
            raise ToolFailed(f"there is no tool {name!r} for you here. There is: {TOOL}.")
        return await self._session.call(name, arguments)
