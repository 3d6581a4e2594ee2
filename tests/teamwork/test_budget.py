"""A budget that ends after any number of turns, in any mode: what is done is given, and nobody is asked again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from atlas_mcp.errors import BudgetSpent
from atlas_mcp.model.turn import TurnResult
from tests.teamwork.scripted_agents import MemoryRun, ScriptedAgents, do, rate_all, task
from tests.teamwork.test_modes import SIDES, debate, debating, voting

pytestmark = pytest.mark.anyio
SPENT = "the run's budget of 7 tokens has no room for another turn."
STEP = "Set the task again with a larger budget_tokens."


class Limited:
    """Agents of which only so many turns are let through; a turn that was taken is given again."""

    def __init__(self, agents: ScriptedAgents, turns: int) -> None:
        self._agents = agents
        self._left = turns
        self.refused = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._agents, name)

    def hosting(self, *given: Any) -> Limited:
        self._agents.hosting(*given)
        return self

    async def take_turn(self, agent: str, message: str, *, key: str, **given: Any) -> TurnResult:
        if key not in self._agents.stored and self._left <= 0:
            self.refused += 1
            raise BudgetSpent(SPENT, limit="tokens", tokens=100, usd=0.01, next_step=STEP)
        self._left -= key not in self._agents.stored
        return await self._agents.take_turn(agent, message, key=key, **given)


def folder(within: Path, name: str) -> Path:
    (within / name).mkdir()
    return within / name


def revised() -> ScriptedAgents:
    """Two parts, one after the other, a text that falls short and one that is better."""
    agents = ScriptedAgents()
    better = {"title": "T", "sections": [{"id": "s1", "heading": "H s1", "text": "The lamp was lit at dusk."}]}
    agents.on("writer", "Draft", {"sections": [{"id": "s1", "heading": "H s1", "text": "The lamp."}]}, better)
    agents.on("rater_a", "Verdict", rate_all(2.0, section="s1"), rate_all(4.5))
    agents.on("rater_b", "Verdict", rate_all(2.0, section="s1"), rate_all(4.5))
    return agents


def arguing() -> ScriptedAgents:
    both = [("for", "against"), ("for", "for")]
    return debating(voting({"The Saver": both, "The Guard": both}), plan_=debate(*SIDES))


@pytest.mark.parametrize(
    ("make", "chosen"),
    [(revised, {}), (arguing, {"mode": "debate"}), (revised, {"mode": "team", "teams": ("research",)})],
)
async def test_wherever_a_budget_ends_the_best_there_is_comes_out(
    tmp_path: Path, make: Any, chosen: dict[str, Any]
) -> None:
    given = task(**chosen)
    whole = make()
    best, _ = await do(whole, folder(tmp_path, "whole"), given)
    assert best.stopped is None
    total, outputs = len(whole.turns), list[str]()
    for turns in range(total):
        agents, run = make(), MemoryRun()
        limited: Any = Limited(agents, turns)
        try:
            result, _ = await do(limited, folder(tmp_path, f"after-{turns}"), given, run)
        except BudgetSpent as nothing:
            assert (nothing.message, nothing.next_step, nothing.limit) == (SPENT, STEP, "tokens")  # noqa: PT017
            assert not outputs, "once something is done it is given"
            continue
        outputs.append(result.output)
        assert result.output
        assert len(agents.turns) == turns
        assert [e["type"] for e in run.events].count("budget_spent") == 1
        assert not {"escalated", "turn_retried", "question_asked"} & {e["type"] for e in run.events}
        if any(agent != "librarian" for agent, _, _ in whole.turns[turns:]):
            assert result.stopped is not None
            assert result.stopped.startswith("The run's budget of 7 tokens has no room for another turn. Refused:")
            assert result.stopped.endswith(STEP)
    assert outputs
    assert outputs[-1] == best.output


async def test_what_was_refused_is_added_up(tmp_path: Path) -> None:
    limited: Any = Limited(revised(), 5)
    result, _ = await do(limited, tmp_path)
    refused = limited.refused
    assert f"Refused: {refused} turns, about {100 * refused:,} tokens, ${0.01 * refused:.2f}." in str(result.stopped)
